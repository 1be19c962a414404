"""What the environment may decide about going down and about replicas."""

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
