/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings and property values: any text is parsed or refused with an error, and what a
 * property took can be read back. */
#include <string.h>
#include "hw/devices.h"
#include "vmm/cli/opts.h"
#include "vmm/device/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_one(const char *key, const char *value, void *opaque)
{
    Device *dev = opaque;
    g_autoptr(GError) error = NULL;
    if (!device_set_prop(dev, key, value, &error)) {
        g_assert_nonnull(error);
        return;
    }
    json_object *read = device_get_prop(dev, key, &error);
    g_assert_no_error(error);
    g_assert_nonnull(read);
    json_object_put(read);
}

static void try_text(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_parse(text, "driver", &error);
    if (!options) {
        g_assert_nonnull(error);
        return;
    }
    json_object *nested = opts_to_json(options);
    json_object_put(nested);
    const char *driver = opts_get(options, "driver");
    const DeviceClass *cls = device_class_find(driver ? driver : "");
    Device *dev = device_new(cls ? cls : device_class_find("virtio-blk-pci"), NULL);
    opts_foreach_all(options, set_one, dev);
    device_free(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool registered;
    if (!registered) {
        device_classes_register(device_classes);
        registered = true;
    }
    g_autofree char *text = g_strndup((const char *)data, size);
    try_text(text);
    return 0;
}
