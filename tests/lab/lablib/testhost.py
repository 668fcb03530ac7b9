# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command where a real KVM is: on this machine, or in the test host (DESIGN, section 9)."""

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CACHE = os.environ.get("VIREO_LAB_CACHE", os.path.join(TREE, ".lab"))

HOST_MEMORY_MIB = 4096

# Variables of the caller that the command in the test host sees as well.
PASSED_VARIABLES = ("VIREO", "TERM", "LANG", "PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                    "TSAN_OPTIONS", "LSAN_OPTIONS", "VIREO_LAB_CACHE", "MESON_TEST_ITERATION",
                    "HOTPLUG_ROUNDS")


class LabError(Exception):
    """A failure of the lab itself; its text is for the user."""


def in_testhost():
    return os.environ.get("LAB_HOST") == "testhost"


def hardware_kvm():
    """True when this machine's KVM runs any guest: the CPU virtualizes and /dev/kvm opens."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
        if "vmx" not in flags and "svm" not in flags:
            return False
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return True
    except OSError:
        return False


def choose_host(wanted="auto"):
    """'kvm' or 'testhost'."""
    if wanted == "auto":
        wanted = os.environ.get("LAB_HOST_CHOICE", "auto")
    if in_testhost() or wanted == "kvm" or (wanted == "auto" and hardware_kvm()):
        return "kvm"
    return "testhost"


@contextlib.contextmanager
def second_processor():
    """For a test that needs two CPUs of the machine it runs on: meanwhile there are."""
    switch = "/sys/devices/system/cpu/cpu1/online"
    with open(switch, encoding="ascii") as file:
        was = file.read()
    with open(switch, "w", encoding="ascii") as file:
        file.write("1")
    try:
        yield
    finally:
        with open(switch, "w", encoding="ascii") as file:
            file.write(was)


def total_memory_mib():
    with open("/proc/meminfo") as file:
        return int(file.readline().split()[1]) // 1024


def tests_at_once():
    """How many lab tests run side by side: test hosts, as many as there are CPUs and memory for; on a
    real KVM one, as the tests would share the machine's network."""
    if choose_host() == "kvm":
        return 1
    return max(1, min(os.cpu_count(), total_memory_mib() // (HOST_MEMORY_MIB + 1024)))


class LabTimeout(LabError):
    """The command did not end in its time."""


class LabHostDied(LabError):
    """The test host itself ended: its kernel, or the emulation below it, not the command."""


class TestHost:
    """One run of the test host with one command in it."""

    def __init__(self, memory_mib=None, cpus=1, scratch=False, interactive=False, verbose=False,
                 forward=None):
        self.memory_mib = memory_mib or max(1536, min(HOST_MEMORY_MIB, total_memory_mib() * 5 // 8))
        self.cpus = cpus
        self.scratch = scratch
        self.interactive = interactive
        self.verbose = verbose
        self.forward = forward
        self.process = None
        self.ports = {}

    def prepare(self):
        if not shutil.which("qemu-system-x86_64"):
            raise LabError("this machine has no usable hardware KVM and the test host needs "
                           "qemu-system-x86_64: run ./configure --install-deps")
        subprocess.run([os.path.join(TREE, "scripts", "make-testhost")], check=True)
        if self.scratch:
            subprocess.run([os.path.join(TREE, "scripts", "make-image"), "--scratch"], check=True)

    def run(self, command, timeout=None):
        """Runs command (a list) and returns its exit status."""
        self.prepare()
        with tempfile.TemporaryDirectory(prefix="lab-run-") as directory:
            self.write_command(directory, command)
            try:
                self.start(directory)
                return self.relay(timeout)
            finally:
                if self.process and self.process.poll() is None:
                    self.process.terminate()
                    try:
                        self.process.wait(10)
                    except subprocess.TimeoutExpired:
                        self.process.kill()

    def write_command(self, directory, command):
        variables = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
        variables["LAB_HOST"] = "testhost"
        if self.scratch:
            variables["LAB_SCRATCH"] = "/run/lab/scratch"
        with open(os.path.join(directory, "command"), "w") as file:
            for name, value in variables.items():
                file.write(f"export {name}={shlex.quote(value)}\n")
            keep = os.path.join(TREE, "tests", "lab", "lablib", "keep_kvm.py")
            file.write(f"python3 {shlex.quote(keep)} </dev/null >/dev/null 2>&1\n")
            file.write(f"cd {shlex.quote(os.getcwd())}\nexec {shlex.join(command)}\n")
        with open(os.path.join(directory, "modules-path"), "w") as file:
            file.write(os.path.join(CACHE, "testhost", "modules") + "\n")

    def start(self, directory):
        size = shutil.get_terminal_size()
        # One CPU: with two at work the emulation of SVM now and then loses a guest's page tables or
        # a wake-up, whatever VMM runs, and one is not slower. Another one is there, offline.
        append = ("console=ttyS0 quiet loglevel=3 oops=panic panic=-1 mitigations=off "
                  "nokaslr tsc=reliable no_timer_check nowatchdog audit=0 apparmor=0 init_on_alloc=0 "
                  "random.trust_cpu=on cryptomgr.notests nohz=off highres=off "
                  f"maxcpus={self.cpus} "
                  f"lab.tree={TREE} lab.run={directory} lab.tty={int(self.interactive)} "
                  f"lab.scratch={int(self.scratch)} lab.network={int(bool(self.forward))} lab.columns={size.columns} "
                  f"lab.rows={size.lines} " +
                  os.environ.get("LAB_HOST_APPEND", ""))
        log = os.path.join(directory, "console")
        # fsdev paths with commas would need doubling; option values are quoted by ",,".
        quote = lambda path: path.replace(",", ",,")
        arguments = [
            "qemu-system-x86_64", "-name", "vireo-testhost", "-nodefaults", "-no-user-config",
            "-M", "q35,usb=off,vmport=off", "-accel", "tcg,thread=multi,tb-size=512",
            "-cpu", "max,-la57,-xsave", "-smp", str(max(self.cpus, 2)), "-m", str(self.memory_mib),
            "-display", "none", "-no-reboot", "-kernel", os.path.join(CACHE, "testhost/vmlinux"),
            "-initrd", os.path.join(CACHE, "testhost/initrd"), "-append", append,
            "-chardev", f"file,id=console,path={quote(log)}", "-serial", "chardev:console",
            "-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap,readonly=on",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
            "-fsdev", f"local,id=tree,path={quote(TREE)},security_model=none,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=tree,mount_tag=tree",
            "-fsdev", f"local,id=run,path={quote(directory)},security_model=none",
            "-device", "virtio-9p-pci,fsdev=run,mount_tag=run",
            "-device", "virtio-serial-pci,max_ports=8"]
        if self.scratch:
            image = os.path.join(CACHE, "scratch.img")
            arguments += ["-drive", f"file={quote(image)},format=raw,if=none,id=scratch,"
                          "snapshot=on,cache=unsafe,aio=threads",
                          "-device", "virtio-blk-pci,drive=scratch"]
        if self.forward:
            # Not 10.0.2.0/24: that is the network of the guest inside.
            arguments += ["-netdev", "user,id=net,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:"
                          f"{self.forward}-10.0.3.15:{self.forward}",
                          "-device", "virtio-net-pci,netdev=net,romfile="]
        inherited = []
        names = ["status"] + (["terminal"] if self.interactive
                              else ["stdin", "stdout", "stderr"])
        for name in names:
            ours, theirs = socket.socketpair()
            self.ports[name] = ours
            inherited.append(theirs)
            arguments += ["-chardev", f"socket,id={name},fd={theirs.fileno()}"]
            if name == "terminal":
                arguments += ["-device", f"virtconsole,chardev={name}"]
            else:
                arguments += ["-device", f"virtserialport,chardev={name},name=lab.{name}"]
        self.console_log = log
        # The test host ends with us, whatever ends us.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *arguments],
                                        stdin=subprocess.DEVNULL, pass_fds=[s.fileno() for s in inherited])
        for theirs in inherited:
            theirs.close()

    def relay(self, timeout):
        """Copies between our streams and the ports until the status arrives."""
        deadline = time.monotonic() + timeout if timeout else None
        began = time.monotonic()
        selector = selectors.DefaultSelector()
        status_text = b""
        source = "terminal" if self.interactive else "stdin"
        outputs = {"terminal": 1} if self.interactive else {"stdout": 1, "stderr": 2}
        for name in ["status", *outputs]:
            selector.register(self.ports[name], selectors.EVENT_READ, name)
        try:
            selector.register(0, selectors.EVENT_READ, "input")
        except PermissionError:  # a plain file or /dev/null: always readable, epoll refuses it
            self.feed_file(source)
        saved = None
        if self.interactive and os.isatty(0):
            saved = termios.tcgetattr(0)
            tty.setraw(0)
        try:
            open_ports = set(outputs)
            while True:
                wait = None if deadline is None else deadline - time.monotonic()
                if wait is not None and wait <= 0:
                    raise LabTimeout(f"the command was still running after {timeout} s")
                for key, _ in selector.select(wait):
                    if key.data == "input":
                        data = os.read(0, 65536)
                        if data:
                            self.ports[source].sendall(data)
                        else:
                            selector.unregister(0)
                            self.ports[source].shutdown(socket.SHUT_WR)
                        continue
                    data = self.ports[key.data].recv(65536)
                    if not data:
                        selector.unregister(self.ports[key.data])
                        open_ports.discard(key.data)
                        if key.data == "status":
                            raise LabHostDied("the test host ended early:\n" +
                                              self.console_tail())
                        continue
                    if key.data != "status":
                        write_all(outputs[key.data], data)
                        continue
                    status_text += data
                    for line in status_text.decode().splitlines():
                        word, _, value = line.partition(" ")
                        if word == "start" and self.verbose:
                            self.verbose = False
                            print(f"test host: up in {time.monotonic() - began:.1f} s ({value} s in it)",
                                  file=sys.stderr)
                        if word == "exit" and status_text.endswith(b"\n"):
                            self.drain(outputs, open_ports)
                            return int(value)
        finally:
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)

    def feed_file(self, source):
        """Input that select() cannot wait for: sent by a child of ours, then end of file."""
        import threading

        def feed():
            try:
                while data := os.read(0, 65536):
                    self.ports[source].sendall(data)
                self.ports[source].shutdown(socket.SHUT_WR)
            except OSError:
                pass
        threading.Thread(target=feed, daemon=True).start()

    def drain(self, outputs, open_ports):
        """What the ports still hold after the command's end."""
        for name in open_ports:
            self.ports[name].settimeout(0.3)
            try:
                while data := self.ports[name].recv(65536):
                    write_all(outputs[name], data)
            except OSError:
                pass

    def console_tail(self):
        """What the test host's kernel said last; of an oops, its beginning and its end."""
        try:
            with open(self.console_log, errors="replace") as file:
                text = file.read()
            trouble = re.search(r".*(BUG:|WARNING:|Oops|stack guard|fault:|Kernel panic)", text)
            if not trouble:
                return text[-3000:]
            trace = text[trouble.start():]  # the innermost frames, and where it all began
            return trace if len(trace) < 7000 else f"{trace[:2500]}\n[...]\n{trace[-4500:]}"
        except OSError:
            return ""


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def run_with_kvm(command, host="auto", timeout=None, **options):
    """Runs command on a real KVM, wherever that is; returns its exit status."""
    if choose_host(host) == "testhost":
        return TestHost(**options).run(command, timeout)
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="lab-") as directory:
        if options.get("scratch") and "LAB_SCRATCH" not in environment:
            subprocess.run([os.path.join(TREE, "scripts", "make-image")], check=True)
            for name in ("disk.img", "grub.img", "vmlinuz", "initrd.img"):
                subprocess.run(["cp", "--sparse=always", "--reflink=auto",
                                os.path.join(CACHE, "image", name), directory], check=True)
            environment["LAB_SCRATCH"] = directory
        child = subprocess.Popen(command, env=environment)
        try:
            return shell_status(child.wait(timeout))
        except subprocess.TimeoutExpired:
            raise LabTimeout(f"the command was still running after {timeout} s") from None
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()


def shell_status(status):
    return 128 - status if status < 0 else status
