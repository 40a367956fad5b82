"""Git remotes: over each transport, at each way to name a revision, with submodules and history, kept and let go."""

import subprocess
import tarfile

import pytest
from kilntest import failure, llb
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon
from kilntest.gitserver import COMMIT_TIME, GitDaemon, GitWeb, Repository, SshServer
from kilntest.request import Request, write_context
from test_builds import CLIENTS, by

FILES = {"a.txt": "one\n", "sub/b.txt": "two\n", "sub/deep/c.txt": "three\n"}


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path / "git")
    repository.head = repository.commit(FILES)
    return repository


@pytest.fixture
def web(repository):
    with GitWeb(repository.folder) as web:
        yield web


@pytest.fixture
def remote(web):
    return web.url("repo.git")


def added(build, url, flags="", **options):
    """Builds `ADD url /`; the folder with what came out."""
    build(f"FROM scratch\nADD {flags} {url} /\n", **options)
    return build.out


def refused(build, url, *said, flags="", **options):
    failure.check(build(f"FROM scratch\nADD {flags} {url} /\n", check=False, **options), *said)


@by(CLIENTS)
def test_add_git(client, web, remote, repository, tmp_path):
    context = write_context(tmp_path / "context", {"Dockerfile": f"FROM scratch\nADD {remote} /src/\n"})
    calls = []
    for count in (1, 2):
        client.build(Request(context, outputs=[f"type=local,dest={tmp_path}/out{count}"]))
        assert (tmp_path / f"out{count}/src/a.txt").read_text() == "one\n"
        assert (tmp_path / f"out{count}/src/sub/deep/c.txt").read_text() == "three\n"
        assert not (tmp_path / f"out{count}/src/.git").exists()
        calls.append(sum(method == "POST" for method, _ in web.requests))
    assert calls[1] == calls[0] + 1  # the second time only the ref is looked up
    repository.commit({"a.txt": "changed\n"})
    client.build(Request(context, outputs=[f"type=local,dest={tmp_path}/out3"]))
    assert (tmp_path / "out3/src/a.txt").read_text() == "changed\n"


def test_ways_to_name_a_revision(build, remote, repository):
    first = repository.head
    repository.git("checkout", "-q", "-b", "feature/x")
    branch = repository.commit({"a.txt": "branch\n"})
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "a tag", "heavy")
    repository.git("checkout", "-q", "main")
    repository.git("branch", "both", "main")
    repository.git("tag", "both", "feature/x")
    repository.commit({"a.txt": "newest\n"})

    def text(fragment):
        return (added(build, remote + fragment) / "a.txt").read_text()

    assert text("") == text("#main") == text("#refs/heads/main") == text("?branch=main") == "newest\n"
    assert text("#feature/x") == text("#light") == text("#heavy") == text("?tag=heavy") == "branch\n"
    assert text(f"#{branch}") == text(f"?ref={branch}") == text(f"?branch=feature/x&checksum={branch}") == "branch\n"
    assert text(f"#{first}") == "one\n"  # no ref points to it any more
    assert text("#both") == "one\n"  # a branch goes before a tag
    assert text("#refs/tags/both") == "branch\n"
    refused(build, remote + "#nothing", "repository does not contain ref nothing")
    missing = "0123456789" * 4
    refused(build, f"{remote}#{missing}", "failed to fetch remote", missing)


def test_subdir(build, remote, repository):
    (repository.work / "link").symlink_to("sub")
    repository.commit({"plain": "x"})
    out = added(build, remote + "#main:sub")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["b.txt", "deep", "deep/c.txt"]
    assert (added(build, remote + "?subdir=sub/deep") / "c.txt").read_text() == "three\n"
    for subdir in ("none", "link", "plain", "sub/none"):
        refused(build, f"{remote}#main:{subdir}", f'subdir "{subdir}" of remote', "is not a directory")


def test_checksum(build, remote, repository):
    repository.git("tag", "-a", "-m", "a tag", "v1")
    repository.push()
    tag = repository.git("rev-parse", "v1")
    for flags in (f"--checksum={repository.head}", f"--checksum={repository.head[:12]}"):
        assert (added(build, remote, flags) / "a.txt").exists()
    assert (added(build, remote + "#v1", f"--checksum={tag}") / "a.txt").exists()
    wrong = "f" * 40
    said = f"expected checksum to match {wrong}, got"
    refused(build, remote, f"{said} {repository.head}", flags=f"--checksum={wrong}")
    refused(build, remote + "#v1", f"{said} {tag} or {repository.head}", flags=f"--checksum={wrong}")
    refused(build, remote, "expected hex commit hash", flags="--checksum=nonsense")


def git_in(folder, *words):
    words = ["git", "-c", f"safe.directory={folder}", *words]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_keep_git_dir(build, remote, repository):
    repository.git("tag", "-a", "-m", "a tag", "v1")
    repository.push()
    out = added(build, remote + "#v1", "--keep-git-dir=true")
    assert git_in(out, "rev-parse", "HEAD") == repository.head
    assert git_in(out, "describe", "--tags") == "v1"
    assert git_in(out, "status", "--porcelain") == ""
    assert git_in(out, "remote", "get-url", "origin") == remote
    assert not (out / ".git/FETCH_HEAD").exists()
    out = added(build, remote, "--keep-git-dir=true")
    assert git_in(out, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    out = added(build, f"{remote}?keep-git-dir=1&ref={repository.head}")
    assert git_in(out, "log", "--format=%H") == repository.head


def test_keep_git_dir_of_another_user(build, remote, repository):
    """Repository and files belong to the same user, which git asks for, and nothing in them has changed."""
    owners = "RUN find /src -exec stat -c '%u %g' {} + | sort -u >/owners && find /src/.git -type f | wc -l >/count"
    build(f"FROM base\nADD --keep-git-dir=true --chown=1234:2345 {remote} /src\n{owners}\n")
    assert build.read("owners") == "1234 2345\n"
    assert int(build.read("count")) > 5
    assert git_in(build.out / "src", "status", "--porcelain") == ""
    assert git_in(build.out / "src", "rev-parse", "HEAD") == repository.head


def test_submodules(build, web, tmp_path, remote, repository):
    inner = Repository(repository.folder, "inner")
    inner.commit({"inner.txt": "inside\n"})
    repository.git("submodule", "add", "-q", inner.bare, "module")
    # Relative to where the outer one came from.
    repository.git("config", "-f", ".gitmodules", "submodule.module.url", "../inner.git")
    repository.commit({})
    out = added(build, remote)
    assert (out / "module/inner.txt").read_text() == "inside\n"
    assert not list(out.rglob(".git"))
    assert not (added(build, remote + "?submodules=false") / "module/inner.txt").exists()
    out = added(build, remote, "--keep-git-dir=true")
    assert git_in(out / "module", "log", "--format=%s") == "change"
    # A submodule may not name files of the daemon's machine.
    repository.git("config", "-f", ".gitmodules", "submodule.module.url", f"file://{inner.bare}")
    repository.commit({})
    refused(build, remote, "transport 'file' not allowed")


def test_servers_that_cannot_do_everything(build, repository):
    old = repository.head
    repository.commit({"a.txt": "new\n"})
    with GitWeb(repository.folder, dumb=True) as dumb:
        assert (added(build, dumb.url("repo.git")) / "a.txt").read_text() == "new\n"
    with GitDaemon(repository.folder) as daemon:
        assert (added(build, daemon.url("repo.git")) / "a.txt").read_text() == "new\n"
        assert (added(build, f"{daemon.url('repo.git')}#{old}") / "a.txt").read_text() == "one\n"


def test_sha256_repository(build, tmp_path):
    repository = Repository(tmp_path / "git256", object_format="sha256")
    head = repository.commit(FILES)
    assert len(head) == 64
    with GitWeb(repository.folder) as web:
        assert (added(build, web.url("repo.git")) / "a.txt").read_text() == "one\n"
        assert (added(build, f"{web.url('repo.git')}#{head}") / "a.txt").read_text() == "one\n"


def test_secrets(build, repository, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    with GitWeb(repository.folder, token="s3cret") as web:
        url = web.url("repo.git")
        refused(build, url, "failed to fetch remote")
        for name in ("GIT_AUTH_TOKEN", f"GIT_AUTH_TOKEN.{web.host}"):
            out = added(build, url, secrets=[f"id={name},src={tmp_path}/token"], no_cache=True)
            assert (out / "a.txt").exists()
        with_password = url.replace("//", "//x-access-token:wr0ng@")
        done = build(f"FROM scratch\nADD {with_password} /\n", check=False)
        lines = [line for line in done.stderr.splitlines() if "failed to fetch" in line]
        assert lines and not any("wr0ng" in line for line in lines), done.stderr


def test_ssh_with_a_forwarded_agent(build, repository, tmp_path, serves_on):
    with SshServer(tmp_path / "ssh") as ssh:
        url = ssh.url(repository.bare)
        refused(build, url, 'no SSH key "default" forwarded from the client')
        out = added(build, url, ssh=[f"default={ssh.socket}"])
        assert (out / "a.txt").read_text() == "one\n"


@pytest.mark.kiln_only  # git itself takes them for 127.0.0.1
def test_host_that_looks_like_a_number(build, buildctl, web):
    """It is the name of a host, and not another way to write 127.0.0.1; also where `git.fullurl` says it."""
    port = web.url("").removeprefix("http://").rstrip("/").rpartition(":")[2]
    for host in ("127.1", "2130706433", "0x7f000001"):
        url = f"http://{host}:{port}/repo.git"
        refused(build, url, "no such host", host)
        source = llb.source("git://" + url.removeprefix("http://"), git_fullurl=url)
        failure.check(buildctl.run("build", stdin=llb.definition(source), check=False), "no such host", host)
    assert not web.requests


def test_known_hosts(buildctl, repository, tmp_path):
    def fetch(ssh, known_hosts, name):
        remote = ssh.url(repository.bare)
        attributes = {"git_fullurl": remote, "git_mountsshsock": "default", "git_knownsshhosts": known_hosts}
        source = llb.source(f"git://{remote.partition('@')[2]}", **attributes)
        words = ["build", "--ssh", f"default={ssh.socket}", "--output", f"type=local,dest={tmp_path}/{name}"]
        return buildctl.run(*words, stdin=llb.definition(source), check=False)

    with SshServer(tmp_path / "ssh") as ssh, SshServer(tmp_path / "other") as other:
        wrong = other.known_hosts().replace(str(other.port), str(ssh.port))
        failure.check(fetch(ssh, wrong, "wrong"), "Host key verification failed")
        done = fetch(ssh, ssh.known_hosts(), "right")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "right/a.txt").read_text() == "one\n"


def test_full_url_is_the_repository_of_the_identifier(buildctl, remote, tmp_path):
    def build(identifier, url, *flags):
        definition = llb.definition(llb.source("git://" + identifier, git_fullurl=url))
        return buildctl.run("build", *flags, stdin=definition, check=False)

    name = remote.removeprefix("http://")
    other = "git.fullurl does not match source identifier"
    failure.check(build("x", remote), other)
    failure.check(build(name, remote.replace("repo.git", "other.git")), other)
    failure.check(build(name, remote.replace("127.0.0.1", "localhost")), other)
    done = build(name, remote.replace("http://", "http://user:pass@") + "\x01")
    failure.check(done, "failed to parse git.fullurl")
    assert "pass@" not in done.stderr
    # Its fragment and query say nothing.
    done = build(name, remote + "?ref=none#none", "--output", f"type=local,dest={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/a.txt").read_text() == "one\n"


def test_times_of_the_commit(buildctl, remote, tmp_path):
    source = llb.source("git://" + remote.removeprefix("http://"), git_fullurl=remote, git_mtime="commit")
    output = f"type=tar,dest={tmp_path}/out.tar"
    buildctl.run("build", "--output", output, stdin=llb.definition(source))
    with tarfile.open(tmp_path / "out.tar") as tar:
        times = {member.name: member.mtime for member in tar}
    assert len(times) >= 5 and set(times.values()) == {COMMIT_TIME}, times


def test_fetch_by_commit(build, remote, repository, web):
    assert (added(build, f"{remote}?fetch-by-commit&checksum={repository.head}&branch=main") / "a.txt").exists()
    assert sum(method == "GET" for method, _ in web.requests) == 1  # only to fetch, not to look up
    refused(build, f"{remote}?fetch-by-commit&checksum={repository.head[:10]}", "needs the full checksum")


@pytest.mark.kiln_only  # buildkitd takes all there is
def test_a_repository_does_not_fill_the_disk(daemon_program, unchanged_host, tmp_path, clients, remote):
    """However small it is, where less is free than what others are left."""
    root = tmp_path / "small"
    root.mkdir()
    context = write_context(tmp_path / "context", {"Dockerfile": f"FROM scratch\nADD {remote} /\n"})
    for megabytes, said in ((200, None), (60, "the disk is nearly full")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", root], check=True)
        try:
            with Daemon(daemon_program, root) as daemon:
                done = Buildctl(clients / "buildctl", daemon.address).build(Request(context), check=not said)
                if said:
                    failure.check(done, said)
        finally:
            subprocess.run(["umount", root], check=True)


def test_damaged_repository_is_fetched_anew(build, daemon, remote, repository):
    added(build, remote)
    repository.commit({"new.txt": "new\n"})
    for path in (daemon.root / "state").rglob("objects/**/*"):
        if path.is_file() and "info" not in path.parts and path.suffix != ".db":
            path.chmod(0o600)
            path.write_bytes(b"damaged")
    assert (added(build, remote) / "new.txt").exists()


def test_repositories_are_shared_and_pruned(build, buildctl, remote, web):
    added(build, remote)
    before = len(web.requests)
    added(build, remote + "#main:sub")  # known: what was fetched for the first is used
    assert sum(method == "POST" for method, _ in web.requests[before:]) <= 1
    kinds = [record.get("recordType") for record in buildctl.records()]
    assert kinds.count("source.git.checkout") == 3
    buildctl.run("prune")
    assert "source.git.checkout" not in [record.get("recordType") for record in buildctl.records()]
