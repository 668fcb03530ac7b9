/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bare KVM program: the least that runs the benchmark guests, as a reference for how fast this
 * host can be. One vCPU, RAM, a ROM or a PVH kernel, a debug console, an exit port; every other
 * access is answered by going back to KVM_RUN. The irqchip comes after the memory: the other way
 * round (--irqchip first) a memory slot waits milliseconds for a grace period. With --disk also a
 * virtio-mmio disk (bare-blk.c). */
#include "bare-kvm.h"

#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOW_RAM_MAX   0x80000000ull
#define ROM_MAX       0x1000000ull
#define START_INFO    0x7000u
#define DEBUGCON_PORT 0xe9
#define EXIT_PORT     0x501

typedef struct Options {
    const char *rom, *pvh, *disk, *irqchip;
    uint64_t memory;
    uint64_t doorbell;
    bool direct, map;
} Options;

static int kvm, vm, vcpu;
static uint8_t *ram;
static uint32_t slot_next;

static void vm_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
    if (ioctl(fd, request, arg) < 0) {
        err(1, "%s", what);
    }
}

static void slot_add(uint64_t guest, void *host, uint64_t size, uint32_t flags)
{
    struct kvm_userspace_memory_region region = { .slot = slot_next++,
                                                  .flags = flags,
                                                  .guest_phys_addr = guest,
                                                  .memory_size = size,
                                                  .userspace_addr = (uintptr_t)host };

    vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region, "memory slot");
}

static void *map_anonymous(uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    if (p == MAP_FAILED) {
        err(1, "mmap of %lu bytes", size);
    }
    return p;
}

static void *file_load(const char *path, uint64_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size > ROM_MAX) {
        err(1, "%s", path);
    }
    *size = (uint64_t)st.st_size;
    p = map_anonymous(*size);
    if (read(fd, p, *size) != st.st_size) {
        err(1, "%s", path);
    }
    close(fd);
    return p;
}

static void ram_create(uint64_t size)
{
    uint64_t low = size < LOW_RAM_MAX ? size : LOW_RAM_MAX;

    ram = map_anonymous(size);
    slot_add(0, ram, low, 0);
    if (size > low) {
        slot_add(0x100000000, ram + low, size - low, 0);
    }
}

static void vcpu_create(void)
{
    enum { ENTRIES = 128 };
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(struct kvm_cpuid_entry2));

    if (!cpuid) {
        err(1, "CPUID");
    }
    cpuid->nent = ENTRIES;

    vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (vcpu < 0) {
        err(1, "vCPU");
    }
    vm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "supported CPUID");
    vm_ioctl(vcpu, KVM_SET_CPUID2, cpuid, "CPUID");
    free(cpuid);
}

static uint32_t note_entry(const uint8_t *note, uint64_t size)
{
    uint64_t at = 0;

    while (at + sizeof(Elf64_Nhdr) <= size) {
        const Elf64_Nhdr *h = (const void *)(note + at);
        uint64_t desc = at + sizeof(*h) + ((h->n_namesz + 3u) & ~3u);

        if (h->n_type == 18 && desc + 4 <= size) {
            uint32_t entry;

            memcpy(&entry, note + desc, 4);
            return entry;
        }
        at = desc + ((h->n_descsz + 3u) & ~3u);
    }
    errx(1, "the kernel has no PVH entry");
}

static uint32_t pvh_load(const char *path)
{
    uint64_t size;
    uint8_t *file = file_load(path, &size);
    const Elf64_Ehdr *e = (const void *)file;
    const Elf64_Phdr *p = (const void *)(file + e->e_phoff);
    uint32_t entry = 0;

    for (uint32_t i = 0; i < e->e_phnum; i++) {
        if (p[i].p_type == PT_LOAD) {
            memcpy(ram + p[i].p_paddr, file + p[i].p_offset, p[i].p_filesz);
        } else if (p[i].p_type == PT_NOTE) {
            entry = note_entry(file + p[i].p_offset, p[i].p_filesz);
        }
    }
    munmap(file, size);
    return entry;
}

static void pvh_enter(uint32_t entry)
{
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = entry, .rbx = START_INFO, .rflags = 2 };
    struct kvm_segment flat = {
        .limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1
    };

    vm_ioctl(vcpu, KVM_GET_SREGS, &s, "get registers");
    s.ds = s.es = s.ss = s.fs = s.gs = flat;
    flat.type = 11;
    flat.selector = 8;
    s.cs = flat;
    s.cr0 |= 1;
    vm_ioctl(vcpu, KVM_SET_SREGS, &s, "set registers");
    vm_ioctl(vcpu, KVM_SET_REGS, &r, "set registers");
    memcpy(ram + START_INFO, &(uint32_t){ 0x336ec578 }, 4);
}

void bare_ioeventfd(int fd, uint64_t addr, uint32_t len)
{
    struct kvm_ioeventfd event = { .addr = addr, .len = len, .fd = fd };

    vm_ioctl(vm, KVM_IOEVENTFD, &event, "ioeventfd");
}

static void port_out(uint16_t port, uint8_t value)
{
    if (port == DEBUGCON_PORT) {
        if (write(STDOUT_FILENO, &value, 1) != 1) {
            exit(1);
        }
    } else if (port == EXIT_PORT) {
        exit(value << 1 | 1);
    }
}

static void mmio(struct kvm_run *run)
{
    uint64_t offset = run->mmio.phys_addr - BARE_BLK_BASE;
    uint32_t value = 0;

    if (offset >= BARE_BLK_SIZE) {
        return;
    }
    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, 4);
        bare_blk_write((uint32_t)offset, value);
    } else {
        value = bare_blk_read((uint32_t)offset);
        memcpy(run->mmio.data, &value, 4);
    }
}

static void run_loop(struct kvm_run *run, bool disk)
{
    for (;;) {
        if (ioctl(vcpu, KVM_RUN, 0) < 0) {
            err(1, "KVM_RUN");
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            if (run->io.direction == KVM_EXIT_IO_OUT) {
                port_out(run->io.port, *((uint8_t *)run + run->io.data_offset));
            }
            break;
        case KVM_EXIT_MMIO:
            if (disk) {
                mmio(run);
            }
            break;
        case KVM_EXIT_HLT:
            pause();
            break;
        default:
            errx(1, "exit reason %u", run->exit_reason);
        }
    }
}

static Options options_parse(int argc, char **argv)
{
    Options o = { .memory = 512, .irqchip = "last" };

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--direct") == 0) {
            o.direct = true;
            continue;
        } else if (strcmp(argv[i], "--map") == 0) {
            o.map = true;
            continue;
        } else if (strcmp(argv[i], "--rom") == 0) {
            o.rom = value;
        } else if (strcmp(argv[i], "--pvh") == 0) {
            o.pvh = value;
        } else if (strcmp(argv[i], "--disk") == 0) {
            o.disk = value;
        } else if (strcmp(argv[i], "--memory") == 0) {
            o.memory = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--doorbell") == 0) {
            o.doorbell = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--irqchip") == 0) {
            o.irqchip = value;
        } else {
            errx(1, "unknown option %s", argv[i]);
        }
        i++;
    }
    o.memory <<= 20;
    return o;
}

static void irqchip_create(void)
{
    vm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "irqchip");
}

int main(int argc, char **argv)
{
    Options o = options_parse(argc, argv);
    struct kvm_run *run;
    uint32_t entry = 0;

    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0 || (vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0) {
        err(1, "/dev/kvm");
    }
    if (strcmp(o.irqchip, "first") == 0) {
        irqchip_create();
    }
    ram_create(o.memory);
    if (o.rom != NULL) {
        uint64_t size;
        void *rom = file_load(o.rom, &size);

        slot_add(0x100000000 - size, rom, size, KVM_MEM_READONLY);
    } else if (o.pvh != NULL) {
        entry = pvh_load(o.pvh);
    }
    if (strcmp(o.irqchip, "last") == 0) {
        irqchip_create();
    }
    vcpu_create();
    if (entry != 0) {
        pvh_enter(entry);
    }
    if (o.doorbell != 0) {
        bare_ioeventfd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), o.doorbell, 2);
    }
    if (o.disk != NULL) {
        bare_blk_start(o.disk, o.direct, o.map, ram,
                       o.memory < LOW_RAM_MAX ? o.memory : LOW_RAM_MAX);
    }
    run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
               MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) {
        err(1, "kvm_run");
    }
    run_loop(run, o.disk != NULL);
    return 0;
}
