/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved state: round trips of every kind, versions, subsections, streams that lie; register tables.
 */
#include <string.h>
#include "vmm/device/registers.h"
#include "vmm/device/state.h"
#include "vmm/error.h"
#include "vmm/event/loop.h"

typedef struct Part {
    uint16_t value;
} Part;

typedef struct Thing {
    uint8_t small;
    uint64_t large;
    int32_t negative;
    uint16_t array[4];
    bool flag;
    uint8_t buffer[5];
    uint8_t *data;
    uint32_t data_len;
    Part one;
    Part several[3];
    Part *dynamic;
    uint32_t dynamic_count;
    uint32_t added;
    uint32_t extra;
    bool has_extra;
    Timer timer;
    unsigned loaded;
} Thing;

static const StateField part_fields[] = { STATE_INT(Part, value), STATE_END };
static const StateSection part_section = { .name = "part", .version = 1, .fields = part_fields };

static bool extra_needed(const void *base)
{
    return ((const Thing *)base)->has_extra;
}

static const StateField extra_fields[] = { STATE_INT(Thing, extra), STATE_END };
static const StateSection extra_section = {
    .name = "extra", .version = 1, .fields = extra_fields, .needed = extra_needed
};
static const StateSection *const subsections[] = { &extra_section, NULL };

static bool thing_post_load(void *base, uint16_t version, GError **error)
{
    Thing *thing = base;
    thing->loaded = version;
    return thing->small != 99 || error_set(error, "99 makes no sense");
}

static const StateField thing_fields[] = {
    STATE_INT(Thing, small),
    STATE_INT(Thing, large),
    STATE_INT(Thing, negative),
    STATE_INT_ARRAY(Thing, array),
    STATE_BOOL(Thing, flag),
    STATE_BUFFER(Thing, buffer),
    STATE_VBUFFER(Thing, data, data_len, 16),
    STATE_STRUCT(Thing, one, &part_section),
    STATE_STRUCT_ARRAY(Thing, several, &part_section),
    STATE_STRUCT_PTR(Thing, dynamic, dynamic_count, &part_section),
    STATE_TIMER(Thing, timer),
    { .name = "added",
      .kind = STATE_KIND_UINT,
      .offset = offsetof(Thing, added),
      .size = 4,
      .count = 1,
      .since = 2 },
    STATE_END,
};
static const StateSection thing_section = { .name = "thing",
                                            .version = 2,
                                            .fields = thing_fields,
                                            .subsections = subsections,
                                            .post_load = thing_post_load };
/* What version 1 wrote. */
static StateField old_fields[G_N_ELEMENTS(thing_fields) - 1];
static const StateSection old_section = { .name = "thing", .version = 1, .fields = old_fields };

static void fire(void *opaque)
{
}

static void thing_init(Thing *thing)
{
    memset(thing, 0, sizeof(*thing));
    thing->dynamic = g_new0(Part, 2);
    thing->dynamic_count = 2;
    timer_init(&thing->timer, event_loop_main(), VM_CLOCK_VIRTUAL, NULL, fire, thing);
}

static void thing_clear(Thing *thing)
{
    timer_cancel(&thing->timer);
    g_free(thing->dynamic);
    g_free(thing->data);
}

static void thing_fill(Thing *thing)
{
    thing_init(thing);
    thing->small = 1;
    thing->large = UINT64_MAX - 1;
    thing->negative = -7;
    thing->array[3] = 0xabcd;
    thing->flag = true;
    memcpy(thing->buffer, "hello", 5);
    thing->data = g_memdup2("data", 4);
    thing->data_len = 4;
    thing->one.value = 10;
    thing->several[2].value = 12;
    thing->dynamic[1].value = 21;
    thing->added = 5;
    thing->extra = 77;
    thing->has_extra = true;
    timer_arm(&thing->timer, 123456789);
}

static bool load(const StateSection *section, Thing *thing, const GByteArray *saved, GError **error)
{
    const uint8_t *cursor = saved->data;
    bool ok = state_load(section, thing, &cursor, saved->data + saved->len, error);
    g_assert_true(!ok || cursor == saved->data + saved->len);
    return ok;
}

static void test_round_trip(void)
{
    Thing from, to;
    GError *error = NULL;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    thing_fill(&from);
    thing_init(&to);
    state_save(&thing_section, &from, saved);
    g_assert_true(load(&thing_section, &to, saved, &error));
    g_assert_no_error(error);
    g_assert_cmpint(to.small, ==, 1);
    g_assert_true(to.large == from.large);
    g_assert_cmpint(to.negative, ==, -7);
    g_assert_cmpint(to.array[3], ==, 0xabcd);
    g_assert_true(to.flag);
    g_assert_cmpmem(to.buffer, 5, "hello", 5);
    g_assert_cmpmem(to.data, to.data_len, "data", 4);
    g_assert_cmpint(to.one.value, ==, 10);
    g_assert_cmpint(to.several[2].value, ==, 12);
    g_assert_cmpint(to.dynamic[1].value, ==, 21);
    g_assert_cmpint(to.added, ==, 5);
    g_assert_cmpint(to.extra, ==, 77);
    g_assert_cmpint(timer_expires(&to.timer), ==, 123456789);
    g_assert_cmpuint(to.loaded, ==, 2);
    g_autoptr(GString) text = g_string_new(NULL);
    state_dump(&thing_section, &to, text);
    g_assert_nonnull(strstr(text->str, "large: 0xfffffffffffffffe\n"));
    thing_clear(&from);
    thing_clear(&to);
}

static void test_older_streams_leave_new_fields(void)
{
    Thing from, to;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    memcpy(old_fields, thing_fields, sizeof(thing_fields) - 2 * sizeof(thing_fields[0]));
    thing_fill(&from);
    thing_init(&to);
    to.added = 42;
    state_save(&old_section, &from, saved);
    g_assert_true(load(&thing_section, &to, saved, NULL));
    g_assert_cmpuint(to.added, ==, 42);
    g_assert_cmpuint(to.loaded, ==, 1);
    /* And the other way round a newer stream is refused. */
    GError *error = NULL;
    g_byte_array_set_size(saved, 0);
    state_save(&thing_section, &from, saved);
    g_assert_false(load(&old_section, &to, saved, &error));
    g_assert_nonnull(strstr(error->message, "newer than this program's"));
    g_clear_error(&error);
    thing_clear(&from);
    thing_clear(&to);
}

static void test_what_was_loaded_is_checked(void)
{
    Thing thing;
    GError *error = NULL;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    thing_fill(&thing);
    thing.small = 99;
    state_save(&thing_section, &thing, saved);
    g_assert_false(load(&thing_section, &thing, saved, &error));
    g_assert_cmpstr(error->message, ==, "99 makes no sense");
    g_clear_error(&error);
    thing_clear(&thing);
}

/* Every cut and every changed byte is refused or gives a valid state; none is read beyond its end
 * (AddressSanitizer watches). */
static void test_hostile_streams(void)
{
    Thing from;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    thing_fill(&from);
    state_save(&thing_section, &from, saved);
    for (guint at = 0; at < saved->len; at++) {
        Thing to;
        thing_init(&to);
        g_autoptr(GByteArray) cut = g_byte_array_new();
        g_byte_array_append(cut, saved->data, at);
        g_assert_false(load(&thing_section, &to, cut, NULL));
        thing_clear(&to);
        for (unsigned bit = 0; bit < 8; bit++) {
            g_autofree uint8_t *changed = g_memdup2(saved->data, saved->len);
            const uint8_t *cursor = changed;
            changed[at] ^= (uint8_t)(1u << bit);
            thing_init(&to);
            state_load(&thing_section, &to, &cursor, changed + saved->len, NULL);
            g_assert_cmpuint(to.data_len, <=, 16);
            g_assert_cmpuint(to.dynamic_count, ==, 2);
            thing_clear(&to);
        }
    }
    thing_clear(&from);
}

/* ---- Register tables ---- */

typedef struct Chip {
    uint8_t control, status;
    uint16_t count;
    uint32_t wide;
    unsigned hooks;
    uint64_t old, now;
} Chip;

static uint64_t count_read(void *dev, uint64_t stored)
{
    return stored + 1;
}

static void wide_written(void *dev, uint64_t old, uint64_t now)
{
    Chip *chip = dev;
    chip->hooks++;
    chip->old = old;
    chip->now = now;
}

static const RegisterDesc chip_regs[] = {
    { .name = "control",
      .offset = 0,
      .size = 1,
      .reset = 0x10,
      .writable = 0x0f,
      .field = offsetof(Chip, control) },
    { .name = "status",
      .offset = 1,
      .size = 1,
      .reset = 0xff,
      .w1c = 0x81,
      .field = offsetof(Chip, status) },
    { .name = "count",
      .offset = 2,
      .size = 2,
      .writable = 0xffff,
      .field = offsetof(Chip, count),
      .read = count_read },
    { .name = "wide",
      .offset = 8,
      .size = 4,
      .writable = 0xffffff00,
      .field = offsetof(Chip, wide),
      .written = wide_written },
};
static const RegisterFile chip_file = { .regs = chip_regs,
                                        .count = G_N_ELEMENTS(chip_regs),
                                        .unassigned = UINT64_MAX };

static void test_register_masks(void)
{
    Chip chip = { 0 };
    register_reset(&chip_file, &chip);
    g_assert_cmphex(chip.control, ==, 0x10);
    register_write(&chip_file, &chip, 0, 0xff, 1);
    g_assert_cmphex(chip.control, ==, 0x1f);
    register_write(&chip_file, &chip, 1, 0x80, 1);
    g_assert_cmphex(chip.status, ==, 0x7f);
    register_write(&chip_file, &chip, 0, 0x1234ff00, 4); /* all three at once */
    g_assert_cmphex(chip.control, ==, 0x10);
    g_assert_cmphex(chip.status, ==, 0x7e);
    g_assert_cmphex(chip.count, ==, 0x1234);
    g_assert_cmphex(register_read(&chip_file, &chip, 0, 4), ==, 0x12357e10);
}

static void test_register_partial_and_holes(void)
{
    Chip chip = { 0 };
    register_write(&chip_file, &chip, 9, 0xab, 1);
    g_assert_cmphex(chip.wide, ==, 0xab00);
    g_assert_cmpuint(chip.hooks, ==, 1);
    g_assert_cmphex(chip.now, ==, 0xab00);
    register_write(&chip_file, &chip, 6, 0x1122334455667788, 8); /* hole, register, hole */
    g_assert_cmphex(chip.wide, ==, 0x33445500);
    g_assert_cmphex(register_read(&chip_file, &chip, 6, 8), ==, 0xffff33445500ffff);
    g_assert_cmphex(register_read(&chip_file, &chip, 4, 2), ==, 0xffff);
    g_assert_cmphex(register_read(&chip_file, &chip, 1000, 8), ==, UINT64_MAX);
    register_write(&chip_file, &chip, 1000, 1, 8);
    g_assert_cmphex(register_read(&chip_file, &chip, 3, 1), ==, 0x00);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/older-streams", test_older_streams_leave_new_fields);
    g_test_add_func("/state/post-load-checks", test_what_was_loaded_is_checked);
    g_test_add_func("/state/hostile-streams", test_hostile_streams);
    g_test_add_func("/registers/masks", test_register_masks);
    g_test_add_func("/registers/partial-and-holes", test_register_partial_and_holes);
    return g_test_run();
}
