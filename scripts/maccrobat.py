"""Get MACCROBAT2020 from its publisher, unless a folder already has it.

J. H. Caufield (2019), MACCROBAT, figshare, doi 10.6084/m9.figshare.9764942.v2, CC BY 4.0.
"""

import hashlib
import http.client
import io
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import NoReturn

import typer

URL = "https://ndownloader.figshare.com/files/21489405"
MD5 = "9d090f3e0719e77e7a33c38750548bb8"
N_REPORTS = 200


def main(folder: Path) -> None:
    """Download the 200 annotated case reports into FOLDER, or find them there."""
    if not folder.exists():
        download(folder)
    n_reports = len(list(folder.glob("*.ann")))
    if n_reports != N_REPORTS:
        fail(
            f"{folder} holds {n_reports} annotated reports, not MACCROBAT2020's {N_REPORTS}. Give "
            "another folder, or one that does not exist, to download to."
        )
    typer.echo(f"MACCROBAT2020 is in {folder}")


def download(folder: Path) -> None:
    """Download the corpus, check its digest, and unpack it into a folder."""
    typer.echo(f"Downloading {URL}")
    try:
        with urllib.request.urlopen(URL, timeout=60) as response:
            data = response.read()
    except (OSError, http.client.HTTPException) as error:
        fail(
            f"Cannot download MACCROBAT2020 from {URL} ({error}). Download it by other means, "
            "unpack it, and give the folder with --vars.maccrobat_dir FOLDER."
        )
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if digest != MD5:
        fail(f"What came from {URL} has md5 {digest}, not {MD5}: it is not the published archive.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder.parent) as temporary,
        zipfile.ZipFile(io.BytesIO(data)) as archive,
    ):
        reports = Path(temporary) / "reports"
        reports.mkdir()
        for member in archive.namelist():
            # Flat, whatever folder the archive has: brat's two files side by side.
            if member.endswith((".txt", ".ann")) and not Path(member).name.startswith("."):
                (reports / Path(member).name).write_bytes(archive.read(member))
        reports.rename(folder)


def fail(reason: str) -> NoReturn:
    """Print an error and exit."""
    typer.secho(f"✘ {reason}", fg="red", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
