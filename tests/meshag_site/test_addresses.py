"""What `manage.py up` prints when everything is ready."""

from pathlib import Path

import pytest

from meshag_site import ports
from meshag_site.first_start import PASSWORD_FILE, FirstCredentials
from meshag_site.management.commands.up import addresses
from meshag_site.processes import Plan, plan


@pytest.fixture
def its(tmp_path: Path) -> Plan:
    return plan(dict.fromkeys(ports.DOCUMENTED, "auto"), tmp_path)


def test_local_addresses_without_a_public_one(its: Plan) -> None:
    said = "\n".join(addresses(its, FirstCredentials(), ""))
    assert f"dashboard {its.url(its.ports[ports.WEB])}, API {its.url(its.ports[ports.TRANSPORT])}" in said
    assert "Behind it" not in said


def test_public_address_where_there_is_one(its: Plan) -> None:
    lines = addresses(its, FirstCredentials(), "https://mesh.example")
    assert lines[0] == "MeshAG is ready: dashboard https://mesh.example, API https://mesh.example"
    local = [line for line in lines if "http://" in line]
    assert [line.split()[:2] for line in local] == [["Behind", "it"]]


def test_who_is_not_ready_is_named_first(its: Plan) -> None:
    line = addresses(its, FirstCredentials(), "https://mesh.example", ["bridge", "stt-2"])[0]
    assert line.startswith("MeshAG is up; not ready yet: bridge, stt-2. Dashboard https://mesh.example")


def test_drawn_password_is_shown(its: Plan) -> None:
    assert "first password drawn (shown this once" in addresses(its, FirstCredentials(password="drawn"), "")[2]


def test_password_file_is_named_while_there(its: Plan) -> None:
    file = its.data_dir / PASSWORD_FILE
    file.write_text("kept")
    assert f"password in {file}" in addresses(its, FirstCredentials(), "")[2]
    file.unlink()
    assert str(file) not in addresses(its, FirstCredentials(), "")[2]
