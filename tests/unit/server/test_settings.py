"""Settings of going down, of replicas, of databases and proxies: what goes together, and what cannot be used."""

import pytest

from workstation.server.settings import Settings, SettingsError


def test_a_server_drains_for_ten_seconds_unless_told_otherwise() -> None:
    assert Settings.from_environment({}).drain_seconds == 10
    assert Settings.from_environment({"WORKSTATION_DRAIN_SECONDS": "0"}).drain_seconds == 0
    with pytest.raises(SettingsError, match="WORKSTATION_DRAIN_SECONDS is '601'"):
        Settings.from_environment({"WORKSTATION_DRAIN_SECONDS": "601"})


def test_started_agents_are_told_of_the_replicas() -> None:
    given = {"WORKSTATION_AGENT_URL": "http://a:1/, https://b"}
    assert Settings.from_environment(given).agent_urls == ("http://a:1", "https://b")
    assert Settings.from_environment({}).agent_urls == ()


@pytest.mark.parametrize("url", ["a:1", "ftp://a", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="WORKSTATION_AGENT_URL"):
        Settings.from_environment({"WORKSTATION_AGENT_URL": f"http://a:1,{url}"})


def test_a_direct_address_goes_with_the_address_of_the_database() -> None:
    both = {"DATABASE_URL": "postgresql://pooler/db", "DATABASE_DIRECT_URL": "postgresql://itself/db"}
    assert Settings.from_environment(both).database_direct_url == "postgresql://itself/db"
    assert Settings.from_environment({"DATABASE_DIRECT_URL": ""}).database_direct_url is None
    with pytest.raises(SettingsError, match="goes with DATABASE_URL"):
        Settings.from_environment({"DATABASE_DIRECT_URL": "postgresql://itself/db"})


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_DIRECT_URL"])
def test_an_address_that_is_none_of_postgresql_is_refused_by_name(name: str) -> None:
    good = {"DATABASE_URL": "postgresql://pooler/db"}
    with pytest.raises(SettingsError, match=f"^{name} must begin with postgresql://"):
        Settings.from_environment({**good, name: "mysql://elsewhere/db"})


def test_trusted_proxies_are_addresses_and_networks() -> None:
    trusted = Settings.from_environment({"WORKSTATION_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}).trusted_proxies
    assert [str(network) for network in trusted] == ["127.0.0.1/32", "10.0.0.0/8"]
    with pytest.raises(SettingsError, match=r"WORKSTATION_TRUSTED_PROXIES has a part .*10\.0\.0\.1/8"):
        Settings.from_environment({"WORKSTATION_TRUSTED_PROXIES": "10.0.0.1/8"})
