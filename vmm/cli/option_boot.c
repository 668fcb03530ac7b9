/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options about starting: kernels, firmware, what firmware is told, the disk to boot. */
#include "vmm/cli/option_handlers.h"

#include <stdio.h>
#include <string.h>
#include "vmm/boot/boot.h"
#include "vmm/cli/params.h"
#include "vmm/device/boot_order.h"

#define MAX_WAIT_MS 0xffff

bool cli_opt_kernel(Cli *cli, const char *value, GError **error)
{
    cli->config.kernel = value;
    return true;
}

bool cli_opt_initrd(Cli *cli, const char *value, GError **error)
{
    cli->config.initrd = value;
    return true;
}

bool cli_opt_append(Cli *cli, const char *value, GError **error)
{
    cli->config.append = value;
    return true;
}

bool cli_opt_bios(Cli *cli, const char *value, GError **error)
{
    cli->config.bios = value;
    return true;
}

static void print_dir(const char *dir, void *opaque)
{
    printf("%s\n", dir);
}

bool cli_opt_data_dir(Cli *cli, const char *value, GError **error)
{
    if (g_str_equal(value, "help")) {
        boot_data_foreach_dir(print_dir, NULL);
        cli->help_shown = true;
        return true;
    }
    boot_data_add_dir(value);
    return true;
}

/* ---- -boot ---- */

/* Letters a to p, each once. */
static bool check_drives(const char *key, const char *drives, GError **error)
{
    unsigned seen = 0;
    for (const char *p = drives; *p; p++) {
        if (*p < 'a' || *p > 'p') {
            return error_set(error, "%s=%s: '%c' is no drive", key, drives, *p);
        }
        if (seen & 1U << (*p - 'a')) {
            return error_set(error, "%s=%s: '%c' is there twice", key, drives, *p);
        }
        seen |= 1U << (*p - 'a');
    }
    return true;
}

static bool take_drives(Opts *opts, const char *key, char **out, GError **error)
{
    const char *drives = opts_get(opts, key);
    if (!drives) {
        return true;
    }
    if (!check_drives(key, drives, error)) {
        return false;
    }
    g_free(*out);
    *out = g_strdup(drives);
    return true;
}

/* Milliseconds; QEMU takes -1 as "not said" too. */
static bool take_wait(Opts *opts, const char *key, int *out, GError **error)
{
    const char *value = opts_get(opts, key);
    uint64_t wait;
    if (!value) {
        return true;
    }
    if (g_str_equal(value, "-1")) {
        *out = -1;
        return true;
    }
    if (!parse_uint(value, MAX_WAIT_MS, &wait)) {
        return error_set(error, "%s=%s is not a number of milliseconds from -1 to %d", key, value,
                         MAX_WAIT_MS);
    }
    *out = (int)wait;
    return true;
}

bool cli_opt_boot(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "order", error);
    BootConfig *boot = &cli->config.boot;
    if (!opts) {
        return false;
    }
    const char *splash = opts_get(opts, "splash");
    if (splash) {
        g_free(boot->splash);
        boot->splash = g_strdup(splash);
    }
    return take_drives(opts, "order", &boot->order, error) &&
           take_drives(opts, "once", &boot->once, error) &&
           opts_get_bool(opts, "menu", &boot->menu, error) &&
           opts_get_bool(opts, "strict", &boot->strict, error) &&
           take_wait(opts, "splash-time", &boot->splash_time, error) &&
           take_wait(opts, "reboot-timeout", &boot->reboot_timeout, error) &&
           cli_check_params(opts, "-boot", "boot-opts", error);
}

/* ---- What firmware is told ---- */

static bool add_opts(GPtrArray *list, const char *value, const char *implied, GError **error)
{
    Opts *opts = opts_parse(value, implied, error);
    if (!opts) {
        return false;
    }
    g_ptr_array_add(list, opts);
    return true;
}

bool cli_opt_smbios(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->config.smbios, value, NULL, error);
}

bool cli_opt_fw_cfg(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->config.fw_cfg, value, "name", error);
}

bool cli_opt_option_rom(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "romfile", error);
    uint64_t number = 0;
    if (!opts || !opts_get_uint(opts, "bootindex", INT32_MAX, &number, error)) {
        return false;
    }
    const char *file = opts_get(opts, "romfile");
    int index = opts_get(opts, "bootindex") ? (int)number : -1;
    const OptionRom *other = index < 0 ? NULL : option_rom_find(cli->config.option_roms, index);
    if (!cli_check_params(opts, "-option-rom", "option-rom", error)) {
        return false;
    }
    if (!file || !*file) {
        return error_set(error, "'file' is missing: which ROM?");
    }
    if (other) {
        return error_set(error, "bootindex=%d is taken: by -option-rom %s", index, other->file);
    }
    OptionRom *rom = g_new0(OptionRom, 1);
    rom->file = g_strdup(file);
    rom->bootindex = index;
    g_ptr_array_add(cli->config.option_roms, rom);
    return true;
}

bool cli_opt_no_fd_bootchk(Cli *cli, const char *value, GError **error)
{
    cli->config.boot.any_floppy = true;
    return true;
}

/* ---- vireo disk.img ---- */

bool cli_opt_disk_image(Cli *cli, const char *value, GError **error)
{
    Opts *opts = opts_new();
    opts_set(opts, "file", value);
    g_ptr_array_insert(cli->drives, (gint)cli->disk_images++, opts);
    return true;
}
