/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vireo-img inside: what its commands share. A command is a row of the table in main.c: its options
 * and a function that returns the exit status. All on the main thread, but where threads are said.
 */
#ifndef BLOCK_IMG_IMG_H
#define BLOCK_IMG_IMG_H

#include "block/image.h"

/* ---- Command line (args.c) ---- */
typedef struct ImgOption {
    char letter;      /* 0: none */
    const char *name; /* NULL: none */
    const char *arg;  /* what it takes; NULL: nothing */
    const char *help;
} ImgOption;

typedef struct ImgArgs ImgArgs;

typedef struct ImgCommand {
    const char *name;
    const char *words; /* what follows the options */
    const char *help;
    const ImgOption *options; /* ends with help NULL */
    int (*run)(ImgArgs *args);
} ImgCommand;

struct ImgArgs {
    const ImgCommand *command;
    GArray *given; /* ImgGiven, in order */
    char **words;
    int count;
};

typedef struct ImgGiven {
    const ImgOption *option;
    const char *value;
} ImgGiven;

#define IMG_OPTIONS_END                                                                            \
    {                                                                                              \
        0                                                                                          \
    }
#define IMG_OPTION_OBJECT                                                                          \
    {                                                                                              \
        0, "object", "OBJECT", "an object as -object of vireo makes: secret,id=ID,data=..."        \
    }
#define IMG_OPTION_IMAGE_OPTS                                                                      \
    {                                                                                              \
        0, "image-opts", NULL, "FILENAME is a list of options: driver=qcow2,file.filename=..."     \
    }
#define IMG_OPTION_FORMAT                                                                          \
    {                                                                                              \
        'f', NULL, "FMT", "what the image is, if it is not to be guessed"                          \
    }
#define IMG_OPTION_QUIET                                                                           \
    {                                                                                              \
        'q', "quiet", NULL, "print errors only"                                                    \
    }
#define IMG_OPTION_PROGRESS                                                                        \
    {                                                                                              \
        'p', NULL, NULL, "show progress"                                                           \
    }
#define IMG_OPTION_SHARE                                                                           \
    {                                                                                              \
        'U', "force-share", NULL, "open the image even if another process writes to it"            \
    }
#define IMG_OPTION_CACHE                                                                           \
    {                                                                                              \
        't', NULL, "CACHE",                                                                        \
            "cache mode of what is written: none, writeback, writethrough, "                       \
            "directsync, unsafe"                                                                   \
    }
#define IMG_OPTION_SOURCE_CACHE                                                                    \
    {                                                                                              \
        'T', NULL, "CACHE", "cache mode of what is read"                                           \
    }
#define IMG_OPTION_OUTPUT                                                                          \
    {                                                                                              \
        0, "output", "FORM", "human or json"                                                       \
    }
#define IMG_OPTION_HELP                                                                            \
    {                                                                                              \
        'h', "help", NULL, "show this help"                                                        \
    }

/* False after a message. argv[0] is the command's name. */
bool img_args_parse(ImgArgs *args, const ImgCommand *command, int argc, char **argv);
void img_args_clear(ImgArgs *args);
/* By letter ("f") or long name ("output"). */
bool img_has(const ImgArgs *args, const char *key);
const char *img_value(const ImgArgs *args, const char *key); /* the last; NULL */
unsigned img_times(const ImgArgs *args, const char *key);
void img_command_help(const ImgCommand *command, GString *out);
/* Exactly count words, or false after the message. */
bool img_expect_words(const ImgArgs *args, int count, const char *message);
/* --output: false after a message. */
bool img_output_is_json(const ImgArgs *args, bool *json);
/* --object, each: false after a message. */
bool img_make_objects(const ImgArgs *args);
/* Options of several -o in one; NULL after a message. */
Opts *img_format_options(const ImgArgs *args);
/* One of the -o is "help" or "?". */
bool img_wants_options_help(const ImgArgs *args);
/* A number of bytes with a suffix, inside the bounds; false after a message naming `what`. */
bool img_parse_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* ---- Messages (common.c) ---- */
int img_fail(GError *error); /* prints, frees, returns 1 */
/* "vireo-img: ...", with a hint to --help behind it; returns 1. */
int img_usage_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
char *img_human_size(uint64_t bytes); /* "1.5 GiB" */
/* In QEMU's layout. Takes the reference. */
void img_print_json(json_object *value);
void img_show_create_options(const char *format, const BlockCreateOption *options,
                             const char *title, bool hint);

void img_progress_start(bool shown);
void img_progress(double percent); /* one thread at a time */
void img_progress_end(void);

/* ---- Images (common.c) ---- */
typedef struct ImgOpen {
    const char *format;
    bool image_opts; /* the name is a list of options */
    bool writable, force_share, no_backing, for_check, no_io;
    /* Of a new image, as its create options have it: "encrypt.key-secret", "key-secret". */
    const char *key_option, *key_secret;
    const char *cache;      /* NULL: writeback */
    const char *aio;        /* NULL: what the layer thinks best */
    const char *cache_what; /* in messages: "cache" (NULL) or "source cache" */
} ImgOpen;

typedef struct ImgImage {
    const char *name; /* as given */
    BlockNode *node;
    BlockBackend *backend; /* holds the locks */
} ImgImage;

/* Opens and locks, without a message. The format that was found out is believed, as by qemu-img. */
bool img_open_error(ImgImage *image, const char *filename, const ImgOpen *how, GError **error);
bool img_open(ImgImage *image, const char *filename, const ImgOpen *how); /* with a message */
/* What was written is on stable storage, or false after a message. */
bool img_flush(ImgImage *image);
/* An image that is not open: nothing. What cannot be kept of it is told of. */
void img_close(ImgImage *image);
/* The tool's exit status: not 0 when an image could not be closed as it should. */
int img_status(int status);
/* The key of an image that was made with these options. */
void img_open_with_key(ImgOpen *how, Opts *options);
bool img_cache_is_valid(const char *cache, const char *what); /* false after a message */
bool img_is_zero(const void *data, size_t bytes);
/* Reads a part of which some may lie behind the end of the node, or all when node is NULL. */
int img_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes);
void *img_buffer_new(size_t bytes); /* for any node; free() */

/* create.c: checks options against the format's table, prints "Formatting", makes the image. */
typedef struct ImgCreate {
    const char *filename, *format;
    const char *backing, *backing_format;
    bool quiet, unsafe;
    bool has_size;
    uint64_t size;
} ImgCreate;
bool img_create(const ImgCreate *what, Opts *options, GError **error);

/* snapshot.c */
void img_print_snapshots(GPtrArray *snapshots);
/* info.c: GPtrArray of BlockSnapshot, or NULL: none, or not a format with snapshots. */
GPtrArray *img_list_snapshots(BlockNode *node, GError **error);

/* convert_copy.c: contents of the sources, one behind the other, to the target. */
typedef struct ImgCopy {
    ImgImage *sources;
    int count;
    BlockNode *target;
    uint64_t total;          /* bytes */
    bool target_is_zero;     /* and has no backing file */
    bool target_has_backing; /* what a source leaves to its backing file is left out */
    uint64_t backing_length;
    bool compressed;
    uint64_t cluster; /* compressed: unit of writes */
    bool out_of_order, salvage, quiet;
    bool offload;        /* the host copies where it can */
    uint64_t min_sparse; /* bytes of zeroes that become a hole; 0: no holes */
    uint64_t rate;       /* bytes a second; 0: any */
    unsigned workers;
} ImgCopy;
int img_copy(const ImgCopy *copy); /* exit status */

/* ---- Commands ---- */
extern const ImgOption img_amend_options[], img_bench_options[], img_bitmap_options[],
    img_check_options[], img_commit_options[], img_compare_options[], img_convert_options[],
    img_create_options[], img_dd_options[], img_info_options[], img_map_options[],
    img_measure_options[], img_rebase_options[], img_resize_options[], img_snapshot_options[];
int img_amend_run(ImgArgs *args);
int img_bench_run(ImgArgs *args);
int img_bitmap_run(ImgArgs *args);
int img_check_run(ImgArgs *args);
int img_commit_run(ImgArgs *args);
int img_compare_run(ImgArgs *args);
int img_convert_run(ImgArgs *args);
int img_create_run(ImgArgs *args);
int img_dd_run(ImgArgs *args);
int img_info_run(ImgArgs *args);
int img_map_run(ImgArgs *args);
int img_measure_run(ImgArgs *args);
int img_rebase_run(ImgArgs *args);
int img_resize_run(ImgArgs *args);
int img_snapshot_run(ImgArgs *args);

/* table.c: ends with name NULL. */
extern const ImgCommand img_commands[];
void img_man(GString *out);

#endif
