/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O limits: configurations, requests of several loops under one limit, changes under load, and
 * that a drain never waits for them. */
#include <string.h>
#include "block/internal.h"

#define LOOPS    3
#define REQUESTS 8 /* of a loop in flight */

/* ---- Configurations ---- */

static char *parse(const char *text, ThrottleConfig *config)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(text, NULL, NULL);
    memset(config, 0, sizeof(*config));
    if (throttle_config_parse(config, options, &error)) {
        return NULL;
    }
    char *message = g_strdup(error->message);
    g_error_free(error);
    return message;
}

static void limits_are_checked(void)
{
    static const char *const good[] = {
        "iops-total=100",
        "bps-read=1M,bps-write=2M",
        "iops-read=10,iops-read-max=100,iops-read-max-length=60",
        "iops-total=5,iops-size=4096",
        "bps-total=1000000000000000",
    };
    static const char *const bad[] = {
        "iops-total=100,iops-read=10",
        "bps-total-max=5",
        "bps-total=10,bps-total-max=5",
        "iops-total=10,iops-total-max-length=5",
        "iops-size=4096",
        "bps-total=1000000000000001",
        "iops-total=-1",
        "iops-total=1,iops-total-max=1000000000000000,iops-total-max-length=18446744073709551615",
    };
    ThrottleConfig config;
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autofree char *message = parse(good[i], &config);
        g_assert_null(message);
        g_assert_true(throttle_config_enabled(&config));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *message = parse(bad[i], &config);
        g_assert_nonnull(message);
    }
}

/* ---- A disk under load ---- */

typedef struct Load Load;
typedef struct LoadRequest {
    BlockRequest request;
    Load *load;
    uint8_t data[512];
    struct iovec iov;
} LoadRequest;

struct Load {
    BlockBackend *backend;
    EventLoop *loops[LOOPS];
    LoadRequest requests[LOOPS][REQUESTS];
    _Atomic bool stop;
    _Atomic unsigned done, running;
};

static void submit(LoadRequest *r)
{
    r->iov = (struct iovec){ r->data, sizeof(r->data) };
    r->request.op = r->load->done % 3 ? BLOCK_READ : BLOCK_WRITE;
    r->request.bytes = sizeof(r->data);
    r->request.iov = &r->iov;
    r->request.iov_count = 1;
    block_submit(r->load->backend, &r->request);
}

static void load_done(BlockRequest *request, int ret)
{
    LoadRequest *r = request->opaque;
    g_assert_cmpint(ret, ==, 0);
    r->load->done++;
    if (r->load->stop) {
        r->load->running--;
    } else {
        submit(r);
    }
}

static void start_here(void *opaque)
{
    LoadRequest *requests = opaque;
    for (int i = 0; i < REQUESTS; i++) {
        requests[i].request.done = load_done;
        requests[i].request.opaque = &requests[i];
        requests[i].load->running++;
        submit(&requests[i]);
    }
}

static Load *load_start(const char *drive)
{
    g_autoptr(GError) error = NULL;
    Load *load = g_new0(Load, 1);
    g_autoptr(Opts) options = opts_parse(drive, NULL, &error);
    g_assert_nonnull(drive_add(options, "none", &error));
    g_assert_no_error(error);
    load->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    for (int i = 0; i < LOOPS; i++) {
        load->loops[i] = event_loop_new("load", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(load->loops[i], &error));
        g_assert_true(block_backend_add_loop(load->backend, load->loops[i], &error));
        for (int j = 0; j < REQUESTS; j++) {
            load->requests[i][j].load = load;
        }
        event_loop_call(load->loops[i], start_here, load->requests[i]);
    }
    return load;
}

static void load_stop(Load *load)
{
    load->stop = true;
    block_backend_drain(load->backend); /* whatever the limits */
    g_assert_cmpuint(load->running, ==, 0);
    block_backend_detach(load->backend);
    for (int i = 0; i < LOOPS; i++) {
        event_loop_free(load->loops[i]);
    }
    drives_close();
    g_free(load);
}

static void wait_for_progress(Load *load, unsigned more)
{
    unsigned goal = load->done + more;
    while ((int)(load->done - goal) < 0) {
        g_usleep(1000);
    }
}

#define DRIVE "driver=null-co,if=none,id=d0,size=1M,read-zeroes=on"

static void a_limit_holds_over_all_loops(void)
{
    int64_t start = clock_now(VM_CLOCK_REALTIME);
    Load *load = load_start(DRIVE ",throttling.iops-total=200");
    wait_for_progress(load, 100);
    int64_t ns = clock_now(VM_CLOCK_REALTIME) - start;
    unsigned done = load->done;
    /* A tenth of a second's worth at once, then 200 a second; never more. */
    g_assert_cmpuint(done, <=, 20 + 1 + (200 * (unsigned)(ns / NS_PER_MS + 50)) / 1000);
    load_stop(load);
}

static void a_drain_does_not_wait_for_the_limit(void)
{
    Load *load = load_start(DRIVE ",iops=1");
    int64_t start = clock_now(VM_CLOCK_REALTIME);
    wait_for_progress(load, 1);
    load_stop(load); /* at the limit's pace: more than 20 seconds */
    g_assert_cmpint(clock_now(VM_CLOCK_REALTIME) - start, <, 20 * NS_PER_SEC);
}

static void set(Load *load, const char *text)
{
    ThrottleConfig config;
    g_assert_null(parse(text, &config));
    ThrottleGroup *group = throttle_group_get("d0", true, NULL);
    throttle_group_set(group, &config);
    block_backend_set_throttle(load->backend, throttle_config_enabled(&config) ? group : NULL);
    throttle_group_unref(group);
}

/* HARDENING: limits that lock up for good. */
static void limits_change_under_load_and_never_lock_up(void)
{
    static const char *const limits[] = {
        "iops-total=100000",
        "iops-total=1",
        "bps-read=1,bps-write=1",
        "",
        "iops-read=3,iops-write=100000",
        "bps-total=1,bps-total-max=1000000000000000",
        "iops-total=1,iops-total-max=2,iops-total-max-length=1000",
        "iops-total=1000000,iops-size=1",
    };
    Load *load = load_start(DRIVE ",bps=512");
    for (int round = 0; round < 64; round++) {
        set(load, limits[round % G_N_ELEMENTS(limits)]);
        if (round % 16 == 15) {
            set(load, "");
            wait_for_progress(load, 100);
            block_node_pause(block_backend_node(load->backend));
            block_node_resume(block_backend_node(load->backend));
        }
    }
    set(load, "");
    wait_for_progress(load, 1000);
    load_stop(load);
}

static void drives_of_one_group_share_its_limit(void)
{
    g_autoptr(GError) error = NULL;
    json_object *props = json_tokener_parse("{\"x-iops-total\": 50}");
    g_assert_nonnull(object_create("throttle-group", "g0", props, &error));
    json_object_put(props);
    g_autoptr(Opts) options = opts_parse("driver=throttle,node-name=t0,throttle-group=g0,"
                                         "file.driver=null-co,file.size=1M",
                                         NULL, &error);
    BlockNode *node = block_node_open(options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_node_length(node), ==, 1 << 20);
    Load *load = g_new0(Load, 1);
    load->backend = block_backend_attach("t0", "dev0", false, false, &error);
    g_assert_no_error(error);
    load->loops[0] = event_loop_new("load", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(load->loops[0], &error));
    g_assert_true(block_backend_add_loop(load->backend, load->loops[0], &error));
    for (int j = 0; j < REQUESTS; j++) {
        load->requests[0][j].load = load;
    }
    int64_t start = clock_now(VM_CLOCK_REALTIME);
    event_loop_call(load->loops[0], start_here, load->requests[0]);
    wait_for_progress(load, 30);
    unsigned done = load->done;
    int64_t ms = (clock_now(VM_CLOCK_REALTIME) - start) / NS_PER_MS;
    g_assert_cmpuint(done, <=, 5 + 1 + 50 * (unsigned)(ms + 50) / 1000);
    load->stop = true;
    block_backend_drain(load->backend);
    block_backend_detach(load->backend);
    event_loop_free(load->loops[0]);
    g_free(load);
    g_assert_true(block_node_delete("t0", &error));
    g_assert_true(object_delete("g0", &error));
}

static void a_missing_group_is_named(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_parse("driver=throttle,node-name=t0,throttle-group=none,"
                                         "file.driver=null-co",
                                         NULL, NULL);
    g_assert_null(block_node_open(options, &error));
    g_assert_nonnull(strstr(error->message, "'none'"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
#define TEST(f) g_test_add_func("/throttle/" #f, f)
    TEST(limits_are_checked);
    TEST(a_limit_holds_over_all_loops);
    TEST(a_drain_does_not_wait_for_the_limit);
    TEST(limits_change_under_load_and_never_lock_up);
    TEST(drives_of_one_group_share_its_limit);
    TEST(a_missing_group_is_named);
    return g_test_run();
}
