/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TPM saved in the middle of its work, with swtpm's state, goes on behind another swtpm. */
#include <string.h>
#include "hw/tpm/tpm.h"
#include "tests/device/fake-swtpm.h"
#include "tests/device/tpm-kit.h"
#include "tests/unit/pc-machine.h"
#include "vmm/chardev/chardev.h"

#define ACCESS  (TPM_BASE + 0x00)
#define STS     (TPM_BASE + 0x18)
#define FIFO    (TPM_BASE + 0x24)
#define REQUEST 0x02
#define EXPECT  0x08
#define AVAIL   0x10
#define GO      0x20
#define READY   0x40

/* TPM2_PCR_Event of "x" into PCR 16 with an empty password; TPM2_PCR_Read of it, SHA-256. */
static const uint8_t pcr_event[] = { 0x80, 2, 0, 0,    0, 30, 0, 0, 1, 0x3c, 0, 0, 0, 16, 0,
                                     0,    0, 9, 0x40, 0, 0,  9, 0, 0, 0,    0, 0, 0, 1,  'x' };
static const uint8_t pcr_read[] = { 0x80, 1, 0, 0, 0, 20,  0, 0, 1, 0x7e,
                                    0,    0, 0, 1, 0, 0xb, 3, 0, 0, 1 };

static Machine *machine_with(const char *socket)
{
    static const char *const devices[] = { "tpm-tis,tpmdev=t", NULL };
    g_autoptr(Opts) chardev = opts_new();
    g_autoptr(Opts) tpmdev = opts_new();
    GError *error = NULL;
    rcu_thread_register();
    event_loop_main();
    opts_set(chardev, "backend", "socket");
    opts_set(chardev, "id", "c");
    opts_set(chardev, "path", socket);
    chardev_new(chardev, &error);
    g_assert_no_error(error);
    opts_set(tpmdev, "type", "emulator");
    opts_set(tpmdev, "id", "t");
    opts_set(tpmdev, "chardev", "c");
    tpm_backend_new(tpmdev, &error);
    g_assert_no_error(error);
    return pc_machine_new("q35", devices);
}

static void machine_end(Machine *machine)
{
    GError *error = NULL;
    machine_free(machine);
    tpm_backends_free();
    chardev_delete("c", &error);
    g_assert_no_error(error);
}

static void put(Machine *machine, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        pc_write(machine->memory, FIFO, data[i], 1);
    }
}

static void start(Machine *machine, const uint8_t *command, size_t len)
{
    pc_write(machine->memory, ACCESS, REQUEST, 1);
    pc_write(machine->memory, STS, READY, 4);
    put(machine, command, len);
    pc_write(machine->memory, STS, GO, 4);
    while (!(pc_read(machine->memory, STS, 4) & AVAIL)) {
        g_usleep(500);
    }
}

static size_t get(Machine *machine, uint8_t *answer, size_t max)
{
    size_t len = 0;
    while (len < max && (pc_read(machine->memory, STS, 4) & AVAIL)) {
        answer[len++] = (uint8_t)pc_read(machine->memory, FIFO, 1);
    }
    return len;
}

static size_t run(Machine *machine, const uint8_t *command, size_t len, uint8_t *answer)
{
    start(machine, command, len);
    size_t got = get(machine, answer, TPM_BUFFER_MAX);
    g_assert_cmphex(tpm2_code(answer), ==, 0);
    return got;
}

static GByteArray *saved(Machine *machine)
{
    GByteArray *state = g_byte_array_new();
    devices_quiesce(machine);
    devices_save(machine, state);
    devices_resume(machine);
    return state;
}

static Machine *restored(const GByteArray *state, const char *socket)
{
    GError *error = NULL;
    Machine *machine = machine_with(socket);
    devices_quiesce(machine);
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    devices_resume(machine);
    return machine;
}

/* Saved with half of an answer read, restored, saved with half of a command written, restored. */
static void test_it_goes_on(void)
{
    RealSwtpm *swtpm[3] = { real_swtpm_start() };
    uint8_t answer[TPM_BUFFER_MAX], before[TPM_BUFFER_MAX], after[TPM_BUFFER_MAX];
    if (!swtpm[0]) {
        g_test_skip("swtpm is not installed");
        return;
    }
    Machine *machine = machine_with(swtpm[0]->path);
    run(machine, tpm2_startup, TPM2_STARTUP_SIZE, answer);
    run(machine, pcr_event, sizeof(pcr_event), answer);
    size_t len = run(machine, pcr_read, sizeof(pcr_read), before);
    start(machine, pcr_read, sizeof(pcr_read));
    g_assert_cmpuint(get(machine, after, 20), ==, 20);
    g_autoptr(GByteArray) reading = saved(machine);
    machine_end(machine);

    swtpm[1] = real_swtpm_start();
    machine = restored(reading, swtpm[1]->path);
    g_assert_cmpuint(get(machine, after + 20, len), ==, len - 20);
    g_assert_cmpmem(after, len, before, len);
    pc_write(machine->memory, STS, READY, 4);
    put(machine, pcr_read, 11);
    g_autoptr(GByteArray) writing = saved(machine);
    machine_end(machine);

    swtpm[2] = real_swtpm_start();
    machine = restored(writing, swtpm[2]->path);
    g_assert_cmphex(pc_read(machine->memory, STS, 4) & EXPECT, ==, EXPECT);
    put(machine, pcr_read + 11, sizeof(pcr_read) - 11);
    pc_write(machine->memory, STS, GO, 4);
    while (!(pc_read(machine->memory, STS, 4) & AVAIL)) {
        g_usleep(500);
    }
    g_assert_cmpuint(get(machine, after, TPM_BUFFER_MAX), ==, len);
    g_assert_cmpmem(after, len, before, len);
    machine_end(machine);
    for (int i = 0; i < 3; i++) {
        real_swtpm_free(swtpm[i]);
    }
}

/* What swtpm cannot give is said when the machine is saved, and refused when it is loaded. */
static void test_without_swtpms_state_there_is_no_way_back(void)
{
    static const FakePlan obedient, mute = { .caps = 0x7cff };
    FakeSwtpm *fake = fake_swtpm_new(&mute);
    GError *error = NULL;
    Machine *machine = machine_with(fake_swtpm_path(fake));
    g_autoptr(GByteArray) state = saved(machine);
    machine_end(machine);
    fake_swtpm_free(fake);
    fake = fake_swtpm_new(&obedient);
    machine = machine_with(fake_swtpm_path(fake));
    g_assert_false(devices_load(machine, state->data, state->len, &error));
    g_assert_nonnull(strstr(error->message, "without the state of its TPM"));
    g_error_free(error);
    machine_end(machine);
    fake_swtpm_free(fake);
}

/* Each way in which swtpm can fail a load is an error of the load. */
static void test_a_state_that_swtpm_refuses(void)
{
    static const FakePlan obedient, refusing = { .command = 13, .fault = FAKE_REFUSES },
                                    closing = { .command = 13, .fault = FAKE_CLOSES };
    const FakePlan *plans[] = { &refusing, &closing };
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    Machine *machine = machine_with(fake_swtpm_path(fake));
    g_autoptr(GByteArray) state = saved(machine);
    machine_end(machine);
    fake_swtpm_free(fake);
    for (size_t i = 0; i < G_N_ELEMENTS(plans); i++) {
        GError *error = NULL;
        fake = fake_swtpm_new(plans[i]);
        machine = machine_with(fake_swtpm_path(fake));
        g_assert_false(devices_load(machine, state->data, state->len, &error));
        g_assert_nonnull(strstr(error->message, "CMD_SET_STATEBLOB"));
        g_error_free(error);
        machine_end(machine);
        fake_swtpm_free(fake);
    }
}

/* A stream that says "ready for a command" behind the buffer's end: the command begins at its
 * start. */
static void test_a_command_begins_at_the_start(void)
{
    static const FakePlan obedient;
    static const uint8_t section[] = "\x07tpm-tis", field[] = "\x06offset";
    const size_t header = sizeof(field) - 1 + 4 + 1; /* name, length, size of the integer */
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    Machine *machine = machine_with(fake_swtpm_path(fake));
    pc_write(machine->memory, ACCESS, REQUEST, 1);
    pc_write(machine->memory, STS, READY, 4);
    uint32_t room = (uint32_t)pc_read(machine->memory, STS, 4) >> 8 & 0xffff;
    g_autoptr(GByteArray) state = saved(machine);
    machine_end(machine);
    fake_swtpm_free(fake);
    const uint8_t *end = state->data + state->len;
    uint8_t *at = memmem(state->data, state->len, section, sizeof(section) - 1);
    g_assert_nonnull(at);
    at = memmem(at, (size_t)(end - at), field, sizeof(field) - 1);
    g_assert_nonnull(at);
    memcpy(at + header, &room, sizeof(room));

    fake = fake_swtpm_new(&obedient);
    machine = restored(state, fake_swtpm_path(fake));
    put(machine, pcr_read, 1);
    uint32_t sts = (uint32_t)pc_read(machine->memory, STS, 4);
    g_assert_cmphex(sts & EXPECT, ==, EXPECT);
    g_assert_cmphex(sts >> 8 & 0xffff, ==, room - 1);
    machine_end(machine);
    fake_swtpm_free(fake);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tpm-state/it-goes-on", test_it_goes_on);
    g_test_add_func("/tpm-state/without-swtpms-state-there-is-no-way-back",
                    test_without_swtpms_state_there_is_no_way_back);
    g_test_add_func("/tpm-state/a-state-that-swtpm-refuses", test_a_state_that_swtpm_refuses);
    g_test_add_func("/tpm-state/a-command-begins-at-the-start", test_a_command_begins_at_the_start);
    return g_test_run();
}
