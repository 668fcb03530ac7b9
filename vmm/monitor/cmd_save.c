/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memsave, pmemsave: guest memory to a file. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/qmp-schema.h"

#define PIECE (1u << 20)

static bool write_all(int fd, const uint8_t *data, size_t len, GError **error)
{
    while (len) {
        ssize_t done = write(fd, data, len);
        if (done < 0 && errno != EINTR) {
            return error_set_errno(error, errno, "the file cannot be written");
        }
        data += MAX(done, 0);
        len -= (size_t)MAX(done, 0);
    }
    return true;
}

static bool copy_out(const DebugRegs *regs, uint64_t addr, uint64_t size, int fd, GError **error)
{
    g_autofree uint8_t *data = g_malloc(PIECE);
    while (size) {
        size_t part = (size_t)MIN(size, PIECE);
        size_t done = debug_memory_read(machine_get(), regs, addr, data, part);
        if (!write_all(fd, data, done, error)) {
            return false;
        }
        addr += done;
        size -= done;
        if (done < part) {
            return error_set(error,
                             "there is no memory at 0x%" G_GINT64_MODIFIER
                             "x; what is before it has been written",
                             addr);
        }
    }
    return true;
}

static json_object *save(const DebugRegs *regs, int64_t addr, int64_t size, const char *filename,
                         GError **error)
{
    if (size < 0) {
        error_set(error, "Parameter 'size' expects a number of bytes");
        return NULL;
    }
    int fd = open(filename, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_set_errno(error, errno, "'%s' cannot be opened", filename);
        return NULL;
    }
    bool ok = copy_out(regs, (uint64_t)addr, (uint64_t)size, fd, error);
    if (close(fd) < 0 && ok) {
        ok = error_set_errno(error, errno, "'%s' cannot be written", filename);
    }
    return ok ? qmp_ok() : NULL;
}

static bool vcpu_registers(int64_t index, DebugRegs *regs, GError **error)
{
    Machine *machine = machine_get();
    if (index < 0 || index >= machine->config->smp.maxcpus ||
        !machine_cpu_present(machine, (unsigned)index)) {
        return error_set(error,
                         "Parameter 'cpu-index' expects a vCPU: there is no vCPU %" G_GINT64_FORMAT,
                         index);
    }
    if (!machine->accel->debug) {
        return error_set(error, "the accelerator '%s' has no vCPUs whose memory could be looked at",
                         machine->accel->name);
    }
    bool running = machine_is_running(machine);
    if (running) {
        machine->accel->vcpus_pause(machine);
    }
    bool ok = machine->accel->debug->regs_get(machine, (unsigned)index, regs, DEBUG_REGS_SYSTEM) ||
              error_set(error, "the registers of vCPU %" G_GINT64_FORMAT " cannot be read", index);
    if (running) {
        machine->accel->vcpus_resume(machine);
    }
    return ok;
}

static json_object *memsave(const void *opaque, GError **error)
{
    const QmpMemsaveArgs *args = opaque;
    DebugRegs regs = { 0 };
    if (!vcpu_registers(args->has_cpu_index ? args->cpu_index : 0, &regs, error)) {
        return NULL;
    }
    return save(&regs, args->val, args->size, args->filename, error);
}

static json_object *pmemsave(const void *opaque, GError **error)
{
    const QmpPmemsaveArgs *args = opaque;
    return save(NULL, args->val, args->size, args->filename, error);
}

static const QmpHandler qmp[] = { { "memsave", memsave }, { "pmemsave", pmemsave }, { NULL } };

const MonitorCommands save_commands = { .qmp = qmp };
