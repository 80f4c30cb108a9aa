"""How many CPUs may be used, by recorded files of other machines, and by real limits of this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pool_kit import until  # type: ignore[import-not-found]

from anypool import usable_cpus
from anypool._cgroups import memory_limit
from anypool._cpus import _python, lowest, sources

MACHINE = 64
LIMIT = 30  # seconds
SHOW = "from anypool import usable_cpus; cpus = usable_cpus(); print(cpus, cpus.reason)"

MOUNT_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
MOUNT_V1 = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
SET_V1 = "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"


def mountinfo(*cgroups: str) -> str:
    others = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw", "23 22 0:21 / /sys rw - sysfs sysfs rw"]
    return "\n".join([*others, *cgroups, "41 22 0:40 / /proc rw - proc proc rw"]) + "\n"


class Machine:
    """Recorded files of a machine, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def groups(self, group: str, *mounts: str) -> None:
        self.record({"proc/self/cgroup": group, "proc/self/mountinfo": mountinfo(*mounts)})

    def cpus(self, environ: dict[str, str] | None = None, affinity: int = MACHINE) -> tuple[int, str]:
        found = lowest(sources(str(self.root), environ or {}, affinity))
        return int(found), found.reason

    def said(self, name: str, environ: dict[str, str] | None = None) -> str:
        return next(source.note for source in sources(str(self.root), environ or {}, MACHINE) if source.name == name)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_any_limit_it_is_the_affinity_mask(machine):
    assert machine.cpus(affinity=3) == (3, "affinity")


def test_a_quota_of_docker_on_version_2_is_that_of_the_root_of_its_namespace(machine):
    machine.groups("0::/\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cpu.max": "200000 100000\n", "sys/fs/cgroup/cpuset.cpus.effective": "0-63\n"})
    assert machine.cpus() == (2, "cgroup v2 quota")


def test_a_group_that_says_max_has_no_quota(machine):
    machine.groups("0::/\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert machine.cpus() == (MACHINE, "affinity")


def test_without_the_cpu_controller_version_2_says_nothing(machine):
    machine.groups("0::/user.slice\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cgroup.procs": ""})
    assert machine.cpus() == (MACHINE, "affinity")


def test_a_quota_of_docker_on_version_1_is_found_though_its_path_is_that_of_the_host(machine):
    mount = MOUNT_V1.replace(" / /sys", " /docker/8d2f /sys")
    machine.groups("4:cpu,cpuacct:/docker/8d2f\n3:cpuset:/docker/8d2f\n0::/\n", mount)
    machine.record(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert machine.cpus() == (3, "cgroup v1 quota")


def test_a_path_of_the_host_that_is_not_visible_leads_to_the_place_of_the_mount(machine):
    machine.groups("4:cpu,cpuacct:/docker/8d2f\n", MOUNT_V1)
    machine.record(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert machine.cpus() == (1, "cgroup v1 quota")


def test_a_quota_of_minus_one_is_none(machine):
    machine.groups("4:cpu,cpuacct:/\n", MOUNT_V1)
    machine.record(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert machine.cpus() == (MACHINE, "affinity")


@pytest.mark.parametrize("pod, container, cpus", [("400000", "max", 4), ("400000", "150000", 2), ("50000", "max", 1)])
def test_the_lowest_quota_of_a_kubernetes_pod_and_its_container_holds(machine, pod, container, cpus):
    path = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"
    machine.groups(f"0::/{path}/cri-containerd-7.scope\n", MOUNT_V2)
    machine.record(
        {
            "sys/fs/cgroup/kubepods.slice/cpu.max": "6000000 100000\n",
            f"sys/fs/cgroup/{path}/cpu.max": f"{pod} 100000\n",
            f"sys/fs/cgroup/{path}/cri-containerd-7.scope/cpu.max": f"{container} 100000\n",
        }
    )
    assert machine.cpus() == (cpus, "cgroup v2 quota")


def test_nested_quotas_of_kubernetes_on_version_1_hold_too(machine):
    machine.groups("2:cpu,cpuacct:/kubepods/burstable/pod1/c7\n", MOUNT_V1)
    base = "sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/pod1"
    machine.record(
        {
            f"{base}/cpu.cfs_quota_us": "200000",
            f"{base}/cpu.cfs_period_us": "100000",
            f"{base}/c7/cpu.cfs_quota_us": "-1",
            f"{base}/c7/cpu.cfs_period_us": "100000",
        }
    )
    assert machine.cpus() == (2, "cgroup v1 quota")
    assert "pod1/cpu.cfs_quota_us" in machine.said("cgroup v1 quota")


def test_a_slice_of_systemd_limits_the_services_in_it(machine):
    machine.groups("0::/system.slice/batch.slice/nightly.service\n", MOUNT_V2)
    machine.record(
        {
            "sys/fs/cgroup/system.slice/batch.slice/cpu.max": "800000 100000\n",
            "sys/fs/cgroup/system.slice/batch.slice/nightly.service/cpu.max": "max 100000\n",
        }
    )
    assert machine.cpus() == (8, "cgroup v2 quota")


def test_on_a_hybrid_system_the_quota_is_where_the_cpu_controller_is(machine):
    unified = MOUNT_V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    machine.groups("5:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/x\n", unified, MOUNT_V1)
    machine.record(
        {
            "sys/fs/cgroup/unified/x/cgroup.procs": "",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "500000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        }
    )
    assert machine.cpus() == (5, "cgroup v1 quota")


def test_a_group_outside_of_the_namespace_is_looked_for_no_further_than_the_mount(machine):
    machine.groups("0::/../other\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cpu.max": "700000 100000\n", "sys/fs/other/cpu.max": "100000 100000\n"})
    assert machine.cpus() == (7, "cgroup v2 quota")


def test_a_mount_of_another_name_and_with_spaces_is_found(machine):
    machine.groups("0::/job\n", MOUNT_V2.replace("/sys/fs/cgroup ", r"/mnt/control\040groups "))
    machine.record({"mnt/control groups/job/cpu.max": "900000 100000\n"})
    assert machine.cpus() == (9, "cgroup v2 quota")


def test_the_mount_that_shows_the_group_is_taken_among_several(machine):
    foreign = MOUNT_V2.replace(" / /sys/fs/cgroup ", " /machines/a /var/lib/a/cgroup ")
    machine.groups("0::/job\n", MOUNT_V2, foreign)
    machine.record({"sys/fs/cgroup/job/cpu.max": "1000000 100000\n", "var/lib/a/cgroup/cpu.max": "100000 100000\n"})
    assert machine.cpus() == (10, "cgroup v2 quota")


@pytest.mark.parametrize("listed, cpus", [("0-3", 4), ("5", 1), ("0-1,8-11,40", 7), ("0,2,4\n", 3)])
def test_a_set_of_cpus_is_counted(machine, listed, cpus):
    machine.groups("0::/user.slice/session-1.scope\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/user.slice/cpuset.cpus.effective": listed})
    assert machine.cpus() == (cpus, "cgroup v2 cpuset")


def test_slurms_set_on_version_2_is_that_of_the_task(machine):
    step = "system.slice/slurmstepd.scope/job_7/step_0"
    machine.groups(f"0::/{step}/user/task_0\n", MOUNT_V2)
    machine.record(
        {
            f"sys/fs/cgroup/{step}/cpuset.cpus.effective": "0-7\n",
            f"sys/fs/cgroup/{step}/user/task_0/cpuset.cpus.effective": "0-3\n",
        }
    )
    assert machine.cpus() == (4, "cgroup v2 cpuset")


def test_slurms_set_on_version_1_is_found(machine):
    machine.groups("3:cpuset:/slurm/uid_0/job_7/step_0\n", SET_V1)
    machine.record(
        {
            "sys/fs/cgroup/cpuset/cpuset.cpus": "0-63\n",
            "sys/fs/cgroup/cpuset/slurm/uid_0/job_7/step_0/cpuset.cpus": "16-17\n",
        }
    )
    assert machine.cpus() == (2, "cgroup v1 cpuset")


@pytest.mark.parametrize(
    "quota, cpus", [("149999", 1), ("150000", 2), ("249000", 2), ("250000", 3), ("1000", 1), ("6400000", 64)]
)
def test_a_quota_is_rounded_and_never_to_nothing(machine, quota, cpus):
    machine.groups("0::/\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})
    assert machine.cpus()[0] == cpus


@pytest.mark.parametrize(
    "text", ["", "much", "0 100000", "-5 100000", "100000 0", "100000", "1.5 2", "9" * 400 + " 1", "\udcff\udcfe"]
)
def test_a_quota_that_makes_no_sense_is_ignored_and_shown(machine, text):
    machine.groups("0::/job\n", MOUNT_V2)
    path = machine.root / "sys/fs/cgroup/job/cpu.max"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert machine.cpus() == (MACHINE, "affinity")
    assert not text or "ignored" in machine.said("cgroup v2 quota")


@pytest.mark.parametrize("text", ["all", "3-1", "0-", "-", "0-3:1/2", "0-" + "9" * 400])
def test_a_set_that_makes_no_sense_is_ignored_and_shown(machine, text):
    machine.groups("0::/\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/cpuset.cpus.effective": text})
    assert machine.cpus() == (MACHINE, "affinity")
    assert "ignored" in machine.said("cgroup v2 cpuset")


@pytest.mark.parametrize("name", ["proc/self/cgroup", "proc/self/mountinfo"])
@pytest.mark.parametrize("text", ["", "\n\n", "nonsense", "0::", "1 2 3 - cgroup", ":::::\n - cgroup2\n"])
def test_files_that_are_cut_off_are_survived(machine, name, text):
    machine.groups("0::/job\n4:cpu:/job\n", MOUNT_V2, MOUNT_V1)
    machine.record({name: text})
    assert machine.cpus() == (MACHINE, "affinity")


def test_the_limit_of_memory_is_the_lowest_from_the_group_upwards(machine):
    machine.groups("0::/a/b\n", MOUNT_V2)
    machine.record({"sys/fs/cgroup/a/memory.max": f"{1 << 30}\n", "sys/fs/cgroup/a/b/memory.max": "max\n"})
    assert memory_limit(str(machine.root)) == (1 << 30, f"{machine.root}/sys/fs/cgroup/a/memory.max")


SLURM = {"SLURM_JOB_ID": "7"}
PBS = {"PBS_JOBID": "7.head"}
LSF = {"LSB_JOBID": "7"}
SGE = {"JOB_ID": "7"}
HERE = os.uname().nodename


@pytest.mark.parametrize(
    "environ, cpus, reason",
    [
        ({**SLURM, "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, 4, "Slurm"),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "16"}, 16, "Slurm"),
        ({"SLURM_JOBID": "7", "SLURM_CPUS_ON_NODE": "16"}, 16, "Slurm"),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_TASKS_PER_NODE": "8"}, 2, "Slurm"),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "3", "SLURM_STEP_TASKS_PER_NODE": "8"}, 1, "Slurm"),
        ({**SLURM, "SLURM_CPUS_ON_NODE": "9", "SLURM_STEP_TASKS_PER_NODE": "8(x2),3", "SLURM_NODEID": "2"}, 3, "Slurm"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "8(x2),6", "SLURM_NODEID": "2"}, 6, "Slurm"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "8(x2),6"}, 8, "Slurm"),
        ({**PBS, "PBS_NUM_PPN": "12", "NCPUS": "2"}, 12, "PBS"),
        ({**PBS, "NCPUS": "2"}, 2, "PBS"),
        ({**LSF, "LSB_DJOB_NUMPROC": "20"}, 20, "LSF"),
        ({**LSF, "LSB_DJOB_NUMPROC": "20", "LSB_MCPU_HOSTS": f"other 12 {HERE} 8"}, 8, "LSF"),
        ({**LSF, "LSB_DJOB_NUMPROC": "20", "LSB_MCPU_HOSTS": "other 12 another 8"}, 20, "LSF"),
        ({**LSF, "LSB_MCPU_HOSTS": f"{HERE}.example.org 5"}, 5, "LSF"),
        ({**SGE, "NSLOTS": "6"}, 6, "SGE"),
        ({"ANYPOOL_CPUS": "5"}, 5, "ANYPOOL_CPUS"),
        ({"ANYPOOL_CPUS": " 5 ", **SLURM, "SLURM_CPUS_PER_TASK": "9"}, 5, "ANYPOOL_CPUS"),
        ({"ANYPOOL_CPUS": "9", **SLURM, "SLURM_CPUS_PER_TASK": "5"}, 5, "Slurm"),
        ({"ANYPOOL_CPUS": "1000"}, MACHINE, "affinity"),
    ],
)
def test_what_a_job_or_the_environment_gives(machine, environ, cpus, reason):
    assert machine.cpus(environ) == (cpus, reason)


@pytest.mark.parametrize(
    "environ",
    [
        {"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "4"},
        {"PBS_NUM_PPN": "4", "NCPUS": "4"},
        {"LSB_DJOB_NUMPROC": "4"},
        {"NSLOTS": "4"},
        {**SLURM, **PBS, **LSF, **SGE},
        {"SLURM_JOB_ID": "", "SLURM_CPUS_PER_TASK": "4"},
    ],
)
def test_variables_of_a_scheduler_count_only_in_its_jobs(machine, environ):
    assert machine.cpus(environ) == (MACHINE, "affinity")


@pytest.mark.parametrize("text", ["", "0", "-1", "four", "4.5", "1e3", "٤", "4 4", "9" * 400, "9" * 5000, "0x4"])
@pytest.mark.parametrize("name", ["ANYPOOL_CPUS", "SLURM_CPUS_PER_TASK", "NCPUS", "NSLOTS"])
def test_a_variable_that_makes_no_sense_is_ignored_and_shown(machine, name, text):
    environ = {**SLURM, **PBS, **SGE, name: text}
    assert machine.cpus(environ) == (MACHINE, "affinity")
    garbage = [source.name for source in sources(str(machine.root), environ, MACHINE) if source.garbage]
    assert len(garbage) == (0 if name == "ANYPOOL_CPUS" and not text else 1)


@pytest.mark.parametrize(
    "environ, said",
    [
        ({**SLURM, "SLURM_CPUS_ON_NODE": "4", "SLURM_STEP_TASKS_PER_NODE": "2,x"}, "SLURM_STEP_TASKS_PER_NODE"),
        ({**LSF, "LSB_MCPU_HOSTS": "a 2 b"}, "pairs of a host and its number of slots"),
        ({**SGE, "PE_HOSTFILE": "/hosts"}, "a host and its number of slots in each line"),
    ],
)
def test_what_makes_no_sense_is_named_and_what_was_expected(machine, environ, said):
    machine.record({"hosts": "a 2\nb\n"})
    (note,) = [source.note for source in sources(str(machine.root), environ, MACHINE) if source.garbage]
    assert note.startswith("ignored: ")
    assert said in note


def test_after_a_variable_that_makes_no_sense_the_next_one_speaks(machine):
    assert machine.cpus({**SLURM, "SLURM_CPUS_PER_TASK": "all", "SLURM_CPUS_ON_NODE": "3"}) == (3, "Slurm")


@pytest.mark.parametrize("listed, cpus", [(f"{HERE}\n" * 3 + "other\n" * 5, 3), ("other\n" * 5, 5), (f"{HERE}.a\n", 1)])
def test_the_lines_of_a_node_file_of_pbs_are_counted(machine, listed, cpus):
    machine.record({"var/spool/pbs/aux/7": listed})
    assert machine.cpus({**PBS, "PBS_NODEFILE": "/var/spool/pbs/aux/7"}) == (cpus, "PBS")


def test_a_node_file_that_is_gone_is_shown(machine):
    assert "PBS_NODEFILE" in machine.said("PBS", {**PBS, "PBS_NODEFILE": "/var/spool/pbs/aux/7"})


def test_of_a_parallel_environment_of_sge_the_slots_of_this_host_count(machine):
    machine.record({"spool/pe": f"other 12 all.q@other UNDEFINED\n{HERE} 4 all.q@{HERE} UNDEFINED\n"})
    assert machine.cpus({**SGE, "NSLOTS": "16", "PE_HOSTFILE": "/spool/pe"}) == (4, "SGE")


@pytest.mark.parametrize(
    "version, options, text, cpus",
    [
        ((3, 11), {}, "3", None),
        ((3, 13), {}, "3", 3),
        ((3, 13), {}, "default", None),
        ((3, 13), {}, None, None),
        ((3, 13), {"cpu_count": "2"}, "3", 2),
        ((3, 13), {"cpu_count": "default"}, "3", None),
    ],
)
def test_pythons_own_number_counts_where_python_has_it(version, options, text, cpus):
    environ = {} if text is None else {"PYTHON_CPU_COUNT": text}
    assert _python(environ, version, options)[1] == cpus


def test_the_number_can_be_pickled_with_its_reason():
    here = usable_cpus()
    there = pickle.loads(pickle.dumps(here))
    assert (there, there.reason) == (here, here.reason)


def show(*before: str, code: str = SHOW, **environ: str) -> str:
    command = [*before, sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=LIMIT, check=True
    )
    return done.stdout.strip()


def test_a_process_under_taskset_may_use_what_it_is_given():
    cpu = min(os.sched_getaffinity(0))
    assert show("taskset", "-c", str(cpu)) == "1 affinity"


def test_a_number_in_the_environment_is_a_real_limit():
    several = usable_cpus() > 1
    assert show(ANYPOOL_CPUS="1") == ("1 ANYPOOL_CPUS" if several else f"1 {usable_cpus().reason}")


def cgroup_folder() -> tuple[Path, str]:
    """Where groups with quotas can be made, and which version it is."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, options = after.split()[0], after.split()[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options):
            found["v2" if kind == "cgroup2" else "v1"] = Path(before.split()[4])
    version = "v1" if "v1" in found else "v2"
    return found[version], version


def removed(folder: Path) -> bool:
    """Whether a group is gone: one can't be removed until the processes that have ended in it are reaped."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@pytest.fixture
def quota_of_one() -> Iterator[tuple[Path, str]]:
    """A group that may use one CPU's time, and is removed."""
    above, version = cgroup_folder()
    folder = above / f"anypool-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no control group may be made here: {error}")
    try:
        if version == "v2":
            (folder / "cpu.max").write_text("100000 100000")
        else:
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text("100000")
        (folder / "inner").mkdir()
        yield folder, version
    finally:
        until(lambda: removed(folder / "inner") and removed(folder))


@pytest.mark.parametrize("group", ["", "inner"])
def test_a_process_in_a_control_group_may_use_its_quota_and_those_above_it(quota_of_one, group):
    folder, version = quota_of_one
    joining = f'echo $$ > {folder / group}/cgroup.procs && exec "$@"'
    shown = show("sh", "-c", joining, "join")
    assert shown == (f"1 cgroup {version} quota" if len(os.sched_getaffinity(0)) > 1 else "1 affinity")
    size = "from anypool import get_pool\nwith get_pool('process') as pool: print(len(pool), len(pool.workers()))"
    assert show("sh", "-c", joining, "join", code=size) == "1 1"


def test_asking_imports_nothing_that_is_slow():
    code = "import sys; bare = set(sys.modules); import anypool._cpus; print(*sorted(set(sys.modules) - bare))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert not {"typing", "re", "dataclasses", "enum", "subprocess", "socket"} & set(done.stdout.split())
