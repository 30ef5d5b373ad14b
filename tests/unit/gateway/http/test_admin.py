"""The admin routes and llama-server's router routes, over a lifecycle that records what is asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.protocol import Description
from config.schema import ModelSpec
from gateway.engine import errors
from gateway.keys import KeyRing
from tests.unit.gateway.http.fakes import CHAT, Site, assert_envelope, make_site, open_site
from tests.unit.gateway.http.test_chat import frames

NEW = {"name": "second", "backend": "fake", "tasks": ["generate"], "source": "weights.gguf"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """One of its own: models and files are changed."""
    async with open_site(tmp_path / "keys.json") as opened:
        yield opened


async def post(site: Site, path: str, **body: Any) -> Any:
    return await site.client.post(path, json=body)


async def test_models_are_shown_with_their_workers(site: Site) -> None:
    shown = (await site.client.get("/admin/models")).json()["data"]
    assert [model["model"] for model in shown] == [spec.name for spec in site.engine.specs]
    assert shown[0]["workers"][0]["pid"] == 4711
    one = (await site.client.get("/admin/models/org/embedder")).json()
    assert one["settings"]["backend"] == "fake_batch"
    assert_envelope(await site.client.get("/admin/models/no"), 404, "model")


async def test_load_and_unload_by_any_name(site: Site) -> None:
    assert (await post(site, "/admin/models/load", model="gpt-4o-mini", pinned=True)).status_code == 200
    assert (await post(site, "/admin/models/unload", model="talker", force=True)).status_code == 200
    assert (await post(site, "/admin/models/reload", model="talker", strategy="replace")).status_code == 200
    assert site.engine.life.asked == [
        ("load", "talker", True, True),
        ("unload", "talker", True, True),
        ("reload", "talker", "replace"),
    ]


async def test_what_is_not_done_yet_is_a_202(site: Site) -> None:
    assert (await post(site, "/admin/models/load", model="talker", wait=False)).status_code == 202
    site.engine.life.unloaded = False
    assert (await post(site, "/admin/models/unload", model="talker")).status_code == 202


async def test_what_keeps_a_load_from_its_end_is_told(site: Site) -> None:
    site.engine.life.error = errors.NoRoom("no room")
    error = assert_envelope(await post(site, "/admin/models/load", model="talker"), 503)
    assert error["code"] == "insufficient_memory"


async def test_a_swap_changes_what_is_named(site: Site) -> None:
    changes = {"source": "/new.gguf", "defaults": {"temperature": 0.5}}
    assert (await post(site, "/admin/models/swap", model="gpt-4o-mini", changes=changes)).status_code == 200
    (_, spec, strategy) = site.engine.life.asked[0]
    assert (spec.name, spec.source, spec.defaults, spec.aliases, strategy) == (
        "talker",
        "/new.gguf",
        {"temperature": 0.5},
        CHAT.aliases,
        "alongside",
    )


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": "other"}, "changes.name"),
        ({"sourc": "x"}, "changes.sourc"),
        ({"replicas": 0}, "changes.replicas"),
        ({"aliases": ["whisper-1"]}, "changes.aliases[0]"),
    ],
)
async def test_a_swap_is_checked_like_the_file(site: Site, changes: dict[str, Any], param: str) -> None:
    response = await post(site, "/admin/models/swap", model="talker", changes=changes)
    assert_envelope(response, 400, param)
    assert not site.engine.life.asked


async def test_a_model_is_added_beside_the_others(site: Site) -> None:
    response = await post(site, "/admin/models", **NEW, preload=True)
    assert response.status_code == 200, response.text
    asked = site.engine.life.asked
    assert asked[0][1].source == str(site.spool.parent / "weights.gguf"), "counted from the file's folder"
    assert asked[1:] == [("add", "second", 2), ("load", "second", None, False)]


@pytest.mark.parametrize(
    ("fault", "param"),
    [
        ({"name": "talker"}, "name"),
        ({"aliases": ["gpt-4o-mini"]}, "aliases[0]"),
        ({"tasks": ["dance"]}, "tasks[0]"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_an_added_model_is_checked_like_the_file(site: Site, fault: dict[str, Any], param: str) -> None:
    error = assert_envelope(await post(site, "/admin/models", **(NEW | fault)), 400, param)
    assert error["code"] == "invalid_model_settings"


async def test_a_model_that_cannot_be_used_is_not_added(site: Site) -> None:
    site.engine.life.error = errors.ModelNotPulled("pull it")
    assert_envelope(await post(site, "/admin/models", **NEW), 503)
    assert [asked[0] for asked in site.engine.life.asked] == ["describe"]


async def test_a_model_is_removed(site: Site) -> None:
    response = await site.client.delete("/admin/models/org/embedder")
    assert response.json() == {"model": "org/embedder", "removed": True}
    assert site.engine.life.asked == [("remove", "org/embedder")]
    assert_envelope(await site.client.delete("/admin/models/no"), 404, "model")


async def test_a_change_may_be_kept_over_restarts(site: Site) -> None:
    file = site.spool.with_name("config.added.yaml")
    response = await site.client.post("/admin/models?persist=true", json=NEW)
    assert response.status_code == 200, response.text
    assert yaml.safe_load(file.read_text())["models"][0]["name"] == "second"
    assert_envelope(await site.client.delete("/admin/models/talker?persist=true"), 409, "persist")
    assert_envelope(await site.client.delete("/admin/models/talker?persist=maybe"), 400, "persist")
    assert ("remove", "talker") not in site.engine.life.asked


async def test_the_file_is_read_anew(site: Site) -> None:
    file = site.spool.with_name("config.yaml")
    tree = yaml.safe_load(file.read_text())
    tree["models"] = [*tree["models"][1:], NEW]
    tree["limits"] = {"open_requests": 7}
    file.write_text(yaml.safe_dump(tree))
    told = (await post(site, "/admin/config/reload")).json()
    assert told == {
        "added": ["second"],
        "removed": ["talker"],
        "swapped": [],
        "changed": [],
        "failed": {},
        "needs_restart": ["limits.open_requests"],
    }
    again = (await post(site, "/admin/config/reload")).json()
    assert not again["added"]
    assert again["needs_restart"], "until it is restarted"
    assert 'config_reloads_total{outcome="ok"} 2.0' in site.metrics.render().decode()


@pytest.mark.parametrize(
    "text",
    ["models: [", "nonsense: 1", "models: [{name: a}]", "server: {port: 99999}", "\x00", "note: 2024-13-45"],
)
async def test_a_bad_file_changes_nothing_and_says_why(site: Site, text: str) -> None:
    site.spool.with_name("config.yaml").write_text(text)
    error = assert_envelope(await post(site, "/admin/config/reload"), 400)
    assert error["code"] == "invalid_configuration"
    assert "config.yaml" in error["message"]
    assert not site.engine.life.asked
    assert 'config_reloads_total{outcome="refused"} 1.0' in site.metrics.render().decode()


async def test_a_new_model_that_cannot_be_used_changes_nothing(site: Site) -> None:
    site.engine.life.error = errors.ModelNotPulled("pull it")
    site.spool.with_name("config.yaml").write_text(yaml.safe_dump({"models": [NEW]}))
    error = assert_envelope(await post(site, "/admin/config/reload"), 400)
    assert "pull it" in error["message"]
    assert [asked[0] for asked in site.engine.life.asked] == ["describe"]


@pytest.fixture
def serves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added is served, as in the engine itself."""

    def add(spec: ModelSpec, version: int, description: Description) -> None:
        site.engine._registry.put(spec, version)

    monkeypatch.setattr(site.engine.life, "add", add)


@pytest.mark.usefixtures("serves")
async def test_names_of_models_that_were_added_on_request_are_taken(site: Site) -> None:
    assert (await post(site, "/admin/models", **NEW, aliases=["mine"])).status_code == 200
    file = site.spool.with_name("config.yaml")
    tree = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(tree | {"models": [*tree["models"], NEW | {"name": "mine"}]}))
    before = list(site.engine.life.asked)
    error = assert_envelope(await post(site, "/admin/config/reload"), 400)
    assert error["code"] == "invalid_configuration"
    assert "'mine' is already taken by the model 'second'" in error["message"]
    assert site.engine.life.asked == before
    assert (await post(site, "/admin/models", **NEW | {"name": "third"})).status_code == 200


async def test_a_models_own_names_are_all_different(site: Site) -> None:
    for aliases in (["second"], ["x", "second"], ["x", "x"]):
        last = len(aliases) - 1
        assert_envelope(await post(site, "/admin/models", **NEW, aliases=aliases), 400, f"aliases[{last}]")
    changes = {"aliases": ["talker"]}
    refused = await post(site, "/admin/models/swap", model="talker", changes=changes)
    assert_envelope(refused, 400, "changes.aliases[0]")


@pytest.mark.usefixtures("serves")
async def test_of_two_that_add_the_same_name_one_is_told(site: Site) -> None:
    both = [post(site, "/admin/models?persist=true", **NEW | {"source": source}) for source in "ab"]
    assert sorted(answer.status_code for answer in await asyncio.gather(*both)) == [200, 400]


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_the_router_of_llama_server(site: Site, prefix: str) -> None:
    response = await post(site, f"{prefix}/models/load", model="talker")
    assert response.json() == {"success": True}
    assert (await post(site, f"{prefix}/models/unload", model="gpt-4o-mini")).json() == {"success": True}
    assert site.engine.life.asked == [("load", "talker", None, False), ("unload", "talker", False, False)]
    listed = (await site.client.get(f"{prefix}/models")).json()
    assert listed["data"][0]["status"] == {"value": "loaded"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/admin/models/events", {"event": "state", "model": "talker", "version": 1, "state": "ready"}),
        ("/models/sse", {"model": "talker", "event": "model_status", "data": {"status": "loaded"}}),
    ],
)
async def test_events_begin_with_the_states(site: Site, path: str, expected: dict[str, Any]) -> None:
    watch = site.engine.watch

    def watch_once() -> Any:
        watcher = watch()
        watcher.end()
        return watcher

    site.engine.watch = watch_once  # type: ignore[method-assign]
    (frame,) = frames((await site.client.get(path)).text)
    assert expected.items() <= json.loads(frame).items()


async def test_only_admin_keys_may_change_models(tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path / "keys.json")
    keys = {scope: ring.create(scope, [scope]) for scope in ("api", "admin", "metrics")}
    async with open_site(tmp_path / "keys.json") as site:
        for path in ("/admin/models", "/admin/models/load", "/admin/no", "/models/load", "/v1/models/unload"):
            for scope, key in keys.items():
                headers = {"authorization": f"Bearer {key}"}
                response = await site.client.post(path, json={"model": "talker"}, headers=headers)
                assert (response.status_code == 403) == (scope != "admin"), path
        headers = {"authorization": f"Bearer {keys['api']}"}
        assert (await site.client.get("/models", headers=headers)).status_code == 200


async def test_foreign_pages_may_not_change_models(tmp_path: Path) -> None:
    site = make_site(tmp_path / "keys.json")
    async with site.client:
        headers = {"origin": "https://evil.example"}
        body = {"model": "talker"}
        assert_envelope(await site.client.post("/admin/models/unload", json=body, headers=headers), 403)
        assert_envelope(await site.client.delete("/admin/models/talker", headers=headers), 403)
        plain = await site.client.post("/admin/models/unload", content=b'{"model": "talker"}')
        assert_envelope(plain, 415)
    assert not site.engine.life.asked


async def test_devices_are_shown_with_who_holds_what(site: Site) -> None:
    (device,) = (await site.client.get("/admin/devices")).json()["data"]
    assert device == {
        "device": "cuda:0",
        "title": "Fake 0",
        "total_bytes": 1000,
        "budget_bytes": 800,
        "reserved_bytes": 300,
        "used_bytes": 200,
        "others_bytes": 100,
        "utilisation": 0.25,
        "workers": [{"worker": 1, "model": "talker", "reserved_bytes": 300, "used_bytes": 200}],
    }
