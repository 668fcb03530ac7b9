/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of vireo-nbd. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "block/nbd/proto.h"
#include "block/nbd/tool.h"
#include "config.h"
#include "vmm/error.h"
#include "vmm/object/object.h"

enum {
    OPT_CACHE = 256,
    OPT_AIO,
    OPT_DISCARD,
    OPT_DETECT_ZEROES,
    OPT_FORK,
    OPT_PID_FILE,
    OPT_IMAGE_OPTS,
    OPT_OBJECT,
    OPT_MISSING,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "port", required_argument, NULL, 'p' },
    { "bind", required_argument, NULL, 'b' },
    { "socket", required_argument, NULL, 'k' },
    { "shared", required_argument, NULL, 'e' },
    { "persistent", no_argument, NULL, 't' },
    { "verbose", no_argument, NULL, 'v' },
    { "export-name", required_argument, NULL, 'x' },
    { "description", required_argument, NULL, 'D' },
    { "offset", required_argument, NULL, 'o' },
    { "allocation-depth", no_argument, NULL, 'A' },
    { "bitmap", required_argument, NULL, 'B' },
    { "list", no_argument, NULL, 'L' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "load-snapshot", required_argument, NULL, 'l' },
    { "nocache", no_argument, NULL, 'n' },
    { "connect", required_argument, NULL, 'c' },
    { "disconnect", no_argument, NULL, 'd' },
    { "trace", required_argument, NULL, 'T' },
    { "cache", required_argument, NULL, OPT_CACHE },
    { "aio", required_argument, NULL, OPT_AIO },
    { "discard", required_argument, NULL, OPT_DISCARD },
    { "detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES },
    { "fork", no_argument, NULL, OPT_FORK },
    { "pid-file", required_argument, NULL, OPT_PID_FILE },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "tls-creds", required_argument, NULL, OPT_MISSING },
    { "tls-hostname", required_argument, NULL, OPT_MISSING },
    { "tls-authz", required_argument, NULL, OPT_MISSING },
    { "selinux-label", required_argument, NULL, OPT_MISSING },
    { NULL },
};

static const char help[] =
    "Usage: %s [OPTION]... FILE\n"
    "   or: %s -L [OPTION]...\n"
    "Serves the disk in FILE to NBD clients.\n"
    "\n"
    "Where:\n"
    "  -p, --port=PORT           TCP port (default 10809)\n"
    "  -b, --bind=ADDRESS        address to listen on (default 0.0.0.0)\n"
    "  -k, --socket=PATH         listen on a unix socket instead\n"
    "  -x, --export-name=NAME    the export's name (default: empty)\n"
    "  -D, --description=TEXT    text shown to clients that list exports\n"
    "\n"
    "How long and for whom:\n"
    "  -e, --shared=N            clients at a time (default 1; 0: any number)\n"
    "  -t, --persistent          go on when the last client has left\n"
    "      --fork                go to the background when clients can connect\n"
    "      --pid-file=PATH       write the process id there\n"
    "\n"
    "What:\n"
    "  -f, --format=FORMAT       the image's format (default: found out)\n"
    "  -r, --read-only           nobody writes\n"
    "  -o, --offset=BYTES        skip the beginning of the image\n"
    "  -A, --allocation-depth    offer the context qemu:allocation-depth\n"
    "  -B, --bitmap=NAME         offer the context qemu:dirty-bitmap:NAME\n"
    "  -n, --nocache             the same as --cache=none\n"
    "      --cache=MODE          none, writeback (default), writethrough, directsync, unsafe\n"
    "      --aio=MODE            io_uring, native, threads\n"
    "      --discard=MODE        ignore (default), unmap\n"
    "      --detect-zeroes=MODE  off (default), on, unmap\n"
    "      --image-opts          FILE is a list of options: driver=...,file.filename=...\n"
    "      --object=OBJECT       an object as -object of vireo makes: secret,id=ID,file=...\n"
    "\n"
    "  -L, --list                list what the server at -b, -p or -k exports\n"
    "  -v, --verbose             tell of each step\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n";

static bool refuse(int c, const char *name, GError **error)
{
    switch (c) {
    case 's':
        return error_set(error, "-s: not in this version of Vireo: make an overlay with `vireo-img "
                                "create -b FILE -F FORMAT -f qcow2` and export that");
    case 'l':
        return error_set(error, "-l: internal snapshots are not exported by this version of Vireo");
    case 'c':
    case 'd':
        return error_set(error, "-%c: Vireo does not drive /dev/nbd devices: use nbd-client", c);
    case 'T':
        return error_set(error, "-T: trace points are not available in this version of Vireo");
    default:
        return error_set(error, "--%s is not available in this version of Vireo", name);
    }
}

static bool parse_discard(NbdToolOptions *o, const char *text, GError **error)
{
    bool on = !strcmp(text, "unmap") || !strcmp(text, "on");
    if (!on && strcmp(text, "ignore") != 0 && strcmp(text, "off") != 0) {
        return error_set(error, "--discard=%s: ignore or unmap", text);
    }
    o->discard = on;
    return true;
}

static bool parse_where(NbdToolOptions *o, int c, GError **error)
{
    switch (c) {
    case 'p':
        o->port = optarg;
        break;
    case 'b':
        o->bind = optarg;
        break;
    case 'k':
        o->socket = optarg;
        break;
    case 'x':
        o->export_name = optarg;
        break;
    case 'D':
        o->description = optarg;
        break;
    default:
        if (!parse_uint(optarg, G_MAXINT, &o->shared)) {
            return error_set(error, "-e %s: not a number of clients", optarg);
        }
        break;
    }
    return true;
}

static bool parse_image(NbdToolOptions *o, int c, GError **error)
{
    switch (c) {
    case 'f':
        o->format = optarg;
        break;
    case 'B':
        o->bitmap = optarg;
        break;
    case 'n':
        o->cache = "none";
        break;
    case OPT_CACHE:
        o->cache = optarg;
        break;
    case OPT_AIO:
        o->aio = optarg;
        break;
    case OPT_DISCARD:
        return parse_discard(o, optarg, error);
    case OPT_DETECT_ZEROES:
        o->detect_zeroes = optarg;
        break;
    default:
        o->has_offset = true;
        return parse_size(optarg, 1, &o->offset) ||
               error_set(error, "-o %s: not a number of bytes", optarg);
    }
    return true;
}

static bool set_flag(NbdToolOptions *o, int c)
{
    const struct {
        int c;
        bool *flag;
    } flags[] = {
        { 'r', &o->readonly },         { 't', &o->persistent }, { 'v', &o->verbose },
        { OPT_FORK, &o->fork },        { 'L', &o->list },       { OPT_IMAGE_OPTS, &o->image_opts },
        { 'A', &o->allocation_depth },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].c == c) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool parse_one(NbdToolOptions *o, int c, int index, char **argv, GError **error)
{
    if (set_flag(o, c)) {
        return true;
    }
    switch (c) {
    case 'h':
        printf(help, o->program, o->program);
        o->help_shown = true;
        return true;
    case 'V':
        printf("%s %s\n", o->program, VIREO_VERSION);
        o->help_shown = true;
        return true;
    case 'p':
    case 'b':
    case 'k':
    case 'x':
    case 'D':
    case 'e':
        return parse_where(o, c, error);
    case OPT_PID_FILE:
        o->pid_file = optarg;
        return true;
    case OPT_OBJECT:
        return object_create_from_text(optarg, error);
    case '?':
        return error_set(error, "unknown option '%s' (--help lists them)", argv[optind - 1]);
    case ':':
        return error_set(error, "option '%s' needs a value", argv[optind - 1]);
    case 'f':
    case 'B':
    case 'n':
    case 'o':
    case OPT_CACHE:
    case OPT_AIO:
    case OPT_DISCARD:
    case OPT_DETECT_ZEROES:
        return parse_image(o, c, error);
    default:
        return refuse(c, index >= 0 ? long_options[index].name : "", error);
    }
}

static bool check(const NbdToolOptions *o, int left, GError **error)
{
    if (o->list) {
        return left == 0 || error_set(error, "-L takes no file");
    }
    if (left != 1) {
        return error_set(error, left ? "more than one file is given"
                                     : "the file to export is missing (--help tells more)");
    }
    if (o->socket && (o->bind || o->port)) {
        return error_set(error, "-k (a unix socket) and -b, -p (TCP) exclude each other");
    }
    if (o->image_opts && o->format) {
        return error_set(error, "--image-opts and -f exclude each other");
    }
    return true;
}

bool nbd_tool_parse(NbdToolOptions *o, int argc, char **argv, GError **error)
{
    *o = (NbdToolOptions){ .program = argv[0], .shared = 1 };
    opterr = 0;
    optind = 0; /* begins anew */
    int c, index = -1;
    while ((c = getopt_long(argc, argv, ":hVp:b:k:e:tvx:D:o:AB:Lf:rsl:nc:dT:", long_options,
                            &index)) != -1) {
        if (!parse_one(o, c, index, argv, error)) {
            return false;
        }
        if (o->help_shown) {
            return true;
        }
        index = -1;
    }
    o->filename = argv[optind];
    return check(o, argc - optind, error);
}
