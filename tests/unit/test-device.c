/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: classes, properties and their errors, help, buses, the tree, the state of all. */
#include <string.h>
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/rcu.h"

typedef struct Widget {
    Device dev;
    bool enabled;
    uint8_t level;
    uint16_t queue;
    uint32_t limit;
    uint64_t big;
    int32_t offset;
    uint64_t size;
    char *label;
    int mode;
    int aer;
    uint8_t mac[6];
    int32_t addr;
    char *drive;
    json_object *list;
    uint32_t reg;
    unsigned realized, resets;
    bool fail;
} Widget;

static const char *const modes[] = { "slow", "fast", NULL };

static const Property widget_props[] = {
    PROP_BOOL("enabled", Widget, enabled, true, NULL),
    PROP_U8("level", Widget, level, 3, "how high"),
    PROP_RANGE_U16("queue", Widget, queue, 8, 2, 64, "entries"),
    PROP_U32("limit", Widget, limit, 0, NULL),
    PROP_U64("big", Widget, big, 0, NULL),
    PROP_I32("offset", Widget, offset, -1, NULL),
    PROP_SIZE("size", Widget, size, 4096, NULL),
    PROP_STRING("label", Widget, label, "none", NULL),
    PROP_ENUM("mode", Widget, mode, 1, modes, NULL),
    PROP_ONOFFAUTO("aer", Widget, aer, ON_OFF_AUTO_AUTO, NULL),
    PROP_MAC("mac", Widget, mac, "address"),
    PROP_DEVFN("addr", Widget, addr, "place"),
    PROP_REF("drive", Widget, drive, "drive", NULL),
    PROP_JSON("list", Widget, list, NULL),
    PROP_END,
};

static const StateField widget_fields[] = { STATE_INT(Widget, reg), STATE_END };
static const StateSection widget_state = { .name = "widget",
                                           .version = 1,
                                           .fields = widget_fields };

static bool widget_realize(Device *dev, GError **error)
{
    Widget *widget = (Widget *)dev;
    widget->realized++;
    return !widget->fail || error_set(error, "told to fail");
}

static void widget_reset(Device *dev)
{
    ((Widget *)dev)->resets++;
    ((Widget *)dev)->reg = 0;
}

static const DeviceClass widget_class = {
    .name = "test-widget",
    .alias = "widget",
    .desc = "A widget",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(Widget),
    .props = widget_props,
    .state = &widget_state,
    .realize = widget_realize,
    .reset = widget_reset,
};

static const DeviceClass hub_class = { .name = "test-hub",
                                       .bus = BUS_SYSTEM,
                                       .category = DEVICE_CATEGORY_BRIDGE,
                                       .size = sizeof(Device) };

static const DeviceClass *const test_classes[] = { &widget_class, &hub_class, NULL };

/* A machine of buses and devices only. */
static Machine *bare_machine(void)
{
    static const MachineClass bare_class = { .name = "bare" };
    Machine *machine = g_new0(Machine, 1);
    machine->cls = &bare_class;
    machine->buses = g_ptr_array_new();
    machine->devices = g_ptr_array_new();
    g_rec_mutex_init(&machine->topology);
    return machine;
}

static void bare_machine_free(Machine *machine)
{
    g_assert_cmpuint(machine->devices->len, ==, 0);
    while (machine->buses->len) {
        bus_free(g_ptr_array_index(machine->buses, machine->buses->len - 1));
    }
    g_ptr_array_unref(machine->buses);
    g_ptr_array_unref(machine->devices);
    g_rec_mutex_clear(&machine->topology);
    g_free(machine);
}

static void test_defaults(void)
{
    Widget *widget = (Widget *)device_new(&widget_class, NULL);
    g_assert_true(widget->enabled);
    g_assert_cmpint(widget->level, ==, 3);
    g_assert_cmpint(widget->offset, ==, -1);
    g_assert_cmpstr(widget->label, ==, "none");
    g_assert_cmpint(widget->mode, ==, 1);
    g_assert_cmpint(widget->addr, ==, -1);
    g_assert_null(widget->drive);
    g_assert_false(device_prop_is_set(&widget->dev, "level"));
    device_free(&widget->dev);
}

static void test_values_are_taken(void)
{
    static const char *const given[][2] = {
        { "enabled", "off" },
        { "level", "0xff" },
        { "queue", "64" },
        { "limit", "4294967295" },
        { "big", "18446744073709551615" },
        { "offset", "-2147483648" },
        { "size", "1.5M" },
        { "label", "a,b" },
        { "mode", "slow" },
        { "aer", "off" },
        { "mac", "52:54:00:AB-cd:ef" },
        { "addr", "1f.7" },
        { "drive", "d0" },
        { "list", "[1,{\"a\":2}]" },
    };
    Widget *widget = (Widget *)device_new(&widget_class, "w");
    GError *error = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(given); i++) {
        bool ok = device_set_prop(&widget->dev, given[i][0], given[i][1], &error);
        g_assert_no_error(error);
        g_assert_true(ok);
        g_assert_true(device_prop_is_set(&widget->dev, given[i][0]));
    }
    g_assert_false(widget->enabled);
    g_assert_cmpuint(widget->level, ==, 255);
    g_assert_cmpuint(widget->limit, ==, UINT32_MAX);
    g_assert_true(widget->big == UINT64_MAX);
    g_assert_cmpint(widget->offset, ==, INT32_MIN);
    g_assert_cmpuint(widget->size, ==, 1536 * 1024);
    g_assert_cmpint(widget->mode, ==, 0);
    g_assert_cmpint(widget->aer, ==, ON_OFF_AUTO_OFF);
    g_assert_cmpint(widget->mac[5], ==, 0xef);
    g_assert_cmpint(widget->addr, ==, 0xff);
    json_object *list = device_get_prop(&widget->dev, "list", NULL);
    g_assert_cmpuint(json_object_array_length(list), ==, 2);
    json_object_put(list);
    device_free(&widget->dev);
}

static void test_errors_name_what_is_wrong(void)
{
    static const char *const cases[][3] = {
        { "enabled", "maybe", "Parameter 'enabled' expects 'on' or 'off'" },
        { "level", "256", "Parameter 'level' expects uint8_t" },
        { "level", "x", "Parameter 'level' expects integer" },
        { "level", "", "Parameter 'level' expects integer" },
        { "level", "-1", "Parameter 'level' expects integer" },
        { "queue", "1", "Parameter 'queue' expects a number from 2 to 64" },
        { "limit", "4294967296", "Parameter 'limit' expects uint32_t" },
        { "big", "18446744073709551616", "Parameter 'big' expects integer" },
        { "offset", "2147483648", "Parameter 'offset' expects int32_t" },
        { "size", "1Q", "Parameter 'size' expects size" },
        { "size", "17179869184G", "Parameter 'size' expects size" },
        { "mode", "medium", "'mode' cannot be 'medium'; it can be: slow, fast" },
        { "aer", "yes", "'aer' cannot be 'yes'; it can be: auto, on, off" },
        { "mac", "52:54",
          "Parameter 'mac' expects a MAC address like 52:54:00:12:34:56, not '52:54'" },
        { "addr", "20",
          "Parameter 'addr' expects a slot and optional function in hexadecimal, like "
          "'06.0' or '1f', not '20'" },
        { "list", "[",
          "Parameter 'list' expects a value in JSON syntax (JSON: the text ends before its value "
          "does, at byte 1)" },
        { "list", "{\"a\": 1, \"a\": 2}",
          "Parameter 'list' expects a value in JSON syntax (JSON: the name 'a' comes twice in an "
          "object, at byte 9)" },
        { "list", "null", "Parameter 'list' expects a value in JSON syntax that is not null" },
        { "levle", "1", "test-widget has no property 'levle'; did you mean 'level'?" },
        { "zzzzzz", "1", "test-widget has no property 'zzzzzz' (-device NAME,help lists them)" },
    };
    Widget *widget = (Widget *)device_new(&widget_class, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(device_set_prop(&widget->dev, cases[i][0], cases[i][1], &error));
        g_assert_cmpstr(error->message, ==, cases[i][2]);
    }
    g_assert_cmpint(widget->level, ==, 3);
    device_free(&widget->dev);
}

static void test_json_values(void)
{
    static const char *const cases[][3] = {
        { "enabled", "false", NULL },
        { "enabled", "\"on\"", NULL },
        { "enabled", "1", "'enabled' has to be of type boolean" },
        { "level", "255", NULL },
        { "level", "256", "Parameter 'level' expects uint8_t" },
        { "level", "-1", "Parameter 'level' expects uint8_t" },
        { "level", "true", "'level' has to be of type integer" },
        { "big", "18446744073709551615", NULL },
        { "offset", "-5", NULL },
        { "offset", "9223372036854775808", "Parameter 'offset' expects int32_t" },
        { "label", "5", "'label' has to be of type string" },
        { "list", "{}", NULL },
        { "list", "5", "'list' has to be of type array" },
        { "addr", "8", NULL },
        { "addr", "256", "Parameter 'addr' expects int32_t" },
        { "mode", "null", "'mode' has to be of type string" },
    };
    Widget *widget = (Widget *)device_new(&widget_class, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        json_object *value = json_tokener_parse(cases[i][1]);
        bool ok = device_set_prop_json(&widget->dev, cases[i][0], value, &error);
        g_assert_cmpstr(error ? error->message : NULL, ==, cases[i][2]);
        g_assert_true(ok == (cases[i][2] == NULL));
        json_object_put(value);
    }
    device_free(&widget->dev);
}

static void test_help(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    device_help_list(text);
    g_assert_nonnull(strstr(text->str, "Misc devices:\n"));
    g_assert_nonnull(
        strstr(text->str, "name \"test-widget\", bus ISA, alias \"widget\", desc \"A widget\"\n"));
    g_string_truncate(text, 0);
    device_help_class(device_class_find("widget"), text);
    g_assert_true(g_str_has_prefix(text->str, "test-widget options:\n  addr=<int32>"));
    g_assert_nonnull(strstr(text->str, "  level=<uint8>          - how high (default: 3)\n"));
    g_assert_nonnull(strstr(text->str, "  enabled=<bool>         - on/off (default: true)\n"));
    g_assert_nonnull(strstr(text->str, "  mode=<str>             -  (default: \"fast\")\n"));
    g_string_truncate(text, 0);
    device_help_class(&hub_class, text);
    g_assert_cmpstr(text->str, ==, "test-hub has no options.\n");
    g_autofree char *near = device_class_suggest("test-wigdet");
    g_assert_cmpstr(near, ==, "test-widget");
    g_assert_null(device_class_suggest("floppy-drive-controller"));
}

static bool refuse(Bus *bus, Device *child, GError **error)
{
    return error_set(error, "the bus is full");
}

static void test_life_on_a_bus(void)
{
    Machine *machine = bare_machine();
    GError *error = NULL;
    Widget *widget = (Widget *)device_new(&widget_class, "w0");
    g_assert_false(device_realize(&widget->dev, machine, NULL, &error));
    g_assert_cmpstr(error->message, ==,
                    "no ISA bus for device 'test-widget': the machine, or a controller (-device), "
                    "has to bring one");
    g_clear_error(&error);
    Device *hub = device_new(&hub_class, NULL);
    g_assert_true(device_realize(hub, machine, NULL, &error));
    Bus *bus = bus_new(BUS_ISA, "isa.0", machine, hub);
    Bus *other = bus_new(BUS_PCI, "pci.0", machine, NULL);
    g_assert_true(bus_find(machine, "isa.0") == bus);
    g_assert_false(device_realize(&widget->dev, machine, other, &error));
    g_assert_cmpstr(error->message, ==, "device 'test-widget' does not fit on a bus of kind PCI");
    g_clear_error(&error);
    bus->plug = refuse;
    g_assert_false(device_realize(&widget->dev, machine, NULL, &error));
    g_assert_cmpstr(error->message, ==, "the bus is full");
    g_clear_error(&error);
    bus->plug = NULL;
    widget->fail = true;
    g_assert_false(device_realize(&widget->dev, machine, NULL, &error));
    g_assert_cmpstr(error->message, ==, "told to fail");
    g_clear_error(&error);
    g_assert_cmpuint(bus->children->len, ==, 0);
    widget->fail = false;
    g_assert_true(device_realize(&widget->dev, machine, NULL, &error));
    g_assert_true(device_find(machine, "w0") == &widget->dev);
    g_assert_true(device_find(machine, "/machine/peripheral/w0") == &widget->dev);
    g_assert_true(device_find(machine, "/machine/unattached/device[0]") == hub);
    g_assert_null(device_find(machine, "w1"));
    g_assert_false(device_set_prop(&widget->dev, "level", "1", &error));
    g_assert_nonnull(strstr(error->message, "cannot change any more"));
    g_clear_error(&error);
    device_reset(hub);
    g_assert_cmpuint(widget->resets, ==, 1);
    g_autoptr(GString) text = g_string_new(NULL);
    device_tree_dump(machine, text);
    g_assert_nonnull(strstr(text->str, "dev: test-widget, id \"w0\"\n"));
    g_assert_nonnull(strstr(text->str, "label = \"none\"\n"));
    device_unrealize(hub); /* takes its bus and the widget with it */
    g_assert_null(bus_find(machine, "isa.0"));
    device_free(hub);
    bare_machine_free(machine);
}

static Widget *add_widget(Machine *machine, const char *id)
{
    Device *dev = device_new(&widget_class, id);
    g_assert_true(device_realize(dev, machine, NULL, NULL));
    return (Widget *)dev;
}

static void test_state_of_all(void)
{
    Machine *machine = bare_machine();
    Bus *bus = bus_new(BUS_ISA, "isa.0", machine, NULL);
    Widget *named = add_widget(machine, "a");
    Widget *plain = add_widget(machine, NULL);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GError *error = NULL;
    named->reg = 11;
    plain->reg = 22;
    devices_save(machine, saved);
    named->reg = plain->reg = 0;
    g_assert_true(devices_load(machine, saved->data, saved->len, &error));
    g_assert_cmpuint(named->reg, ==, 11);
    g_assert_cmpuint(plain->reg, ==, 22);
    for (guint cut = 0; cut < saved->len; cut++) { /* no prefix is taken for the whole */
        g_assert_false(devices_load(machine, saved->data, cut, &error));
        g_clear_error(&error);
    }
    Widget *more = add_widget(machine, "more");
    g_assert_false(devices_load(machine, saved->data, saved->len, &error));
    g_assert_nonnull(strstr(error->message, "'/machine/peripheral/more'"));
    g_clear_error(&error);
    device_unrealize(&more->dev);
    device_free(&more->dev);
    device_unrealize(&plain->dev);
    device_free(&plain->dev);
    g_assert_false(devices_load(machine, saved->data, saved->len, &error));
    g_assert_nonnull(strstr(error->message, "which this machine has not"));
    g_clear_error(&error);
    device_unrealize(&named->dev);
    device_free(&named->dev);
    bus_free(bus);
    bare_machine_free(machine);
}

static int line_level[2];

static void line_handler(void *opaque, int pin, int level)
{
    line_level[0] = level * 10 + pin;
}

static void line_intercept(void *opaque, int pin, int level)
{
    line_level[1] = level * 10 + pin;
}

static void test_lines(void)
{
    IrqLine line;
    irq_line_init(&line, line_handler, NULL, 3);
    irq_raise(NULL); /* not connected: nothing */
    irq_raise(&line);
    g_assert_cmpint(line_level[0], ==, 13);
    line.intercept = line_intercept;
    irq_lower(&line);
    g_assert_cmpint(line_level[0], ==, 3);
    g_assert_cmpint(line_level[1], ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_thread_register();
    device_classes_register(test_classes);
    g_test_add_func("/device/defaults", test_defaults);
    g_test_add_func("/device/values", test_values_are_taken);
    g_test_add_func("/device/errors-name-what-is-wrong", test_errors_name_what_is_wrong);
    g_test_add_func("/device/json-values", test_json_values);
    g_test_add_func("/device/help", test_help);
    g_test_add_func("/device/life-on-a-bus", test_life_on_a_bus);
    g_test_add_func("/device/state-of-all", test_state_of_all);
    g_test_add_func("/device/lines", test_lines);
    int status = g_test_run();
    rcu_thread_unregister();
    return status;
}
