"""Settings that go together, and values that cannot be used."""

import pytest

from workstation.server.settings import Settings, SettingsError


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
