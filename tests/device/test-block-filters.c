/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What jobs do besides copying: compressed backups, and nodes that are named after a job. */
#include <string.h>
#include "tests/device/jobs-kit.h"

#define EXEC(name, arguments) "{'execute': '" name "', 'arguments': {" arguments "}}"

/* ---- Compressed backups ---- */

/* Clusters of the image that are compressed, and others that are allocated. */
static void count_clusters(Stage *s, const char *image, int *compressed, int *all)
{
    g_autofree char *path = g_build_filename(s->folder, "counts", NULL);
    g_autofree char *text = NULL;
    stage_shell(s, "qemu-img check --output=json %s > counts", image);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    json_object *counts = json_tokener_parse(text);
    *compressed = json_object_get_int(json_object_object_get(counts, "compressed-clusters"));
    *all = json_object_get_int(json_object_object_get(counts, "allocated-clusters"));
    json_object_put(counts);
}

static void backup(const char *create, const char *command, const char *arguments,
                   const char *image, unsigned images)
{
    Stage s;
    int compressed, all;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f qcow2 %s t.qcow2 4M", create);
    stage_start(&s, "-blockdev driver=qcow2,node-name=t,file.driver=file,file.filename=t.qcow2");
    stage_work(&s, 12);
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_qmp(&s,
              "{'execute': '%s', 'arguments': {'device': 'd', 'job-id': 'b', 'compress': true, "
              "'speed': 1048576, %s}}",
              command, arguments);
    stage_work(&s, 30); /* what it overwrites is copied first */
    stage_qmp(&s, EXEC("block-job-set-speed", "'device': 'b', 'speed': 0"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    stage_quit(&s);
    count_clusters(&s, image, &compressed, &all);
    g_assert_cmpint(compressed, >, 0);
    stage_judge(&s, image, then, images);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_remove(&s);
}

static void test_a_backup_is_compressed(void)
{
    backup("", "blockdev-backup", "'target': 't', 'sync': 'full'", "t.qcow2", 1);
    backup("-o cluster_size=4k", "blockdev-backup", "'target': 't', 'sync': 'full'", "t.qcow2", 1);
    backup("-o cluster_size=2M", "blockdev-backup", "'target': 't', 'sync': 'full'", "t.qcow2", 1);
    backup("", "drive-backup", "'target': 'n.qcow2', 'sync': 'full'", "n.qcow2", 1);
    backup("", "drive-backup", "'target': 'n.qcow2', 'sync': 'top'", "n.qcow2", 2);
}

static void test_only_what_compresses_is_a_target(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f raw t.raw 4M && "
                    "qemu-img create -q -f qcow2 -o data_file=d.raw x.qcow2 4M");
    stage_start(&s, "-blockdev driver=raw,node-name=t,file.driver=file,file.filename=t.raw "
                    "-blockdev driver=qcow2,node-name=x,file.driver=file,file.filename=x.qcow2");
    static const char *const targets[] = { "t", "x" };
    for (size_t i = 0; i < G_N_ELEMENTS(targets); i++) {
        g_autofree char *command = g_strdup_printf(
            EXEC("blockdev-backup", "'device': 'd', 'target': '%s', 'sync': 'full', "
                                    "'compress': true"),
            targets[i]);
        g_autofree char *text = g_strdup_printf(
            "compress: the target '%s' is not of a format that compresses", targets[i]);
        stage_refused(&s, command, "GenericError", text);
    }
    stage_quit(&s);
    stage_remove(&s);
}

/* ---- filter-node-name ---- */

/* The driver of a node of that name, or NULL (g_free). */
static char *driver_of(Stage *s, const char *name)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-named-block-nodes'}");
    char *driver = NULL;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *node = json_object_array_get_idx(list, i);
        if (!strcmp(json_object_get_string(json_object_object_get(node, "node-name")), name)) {
            driver = g_strdup(json_object_get_string(json_object_object_get(node, "drv")));
        }
    }
    json_object_put(list);
    return driver;
}

static void try_filter(Stage *s, const char *command, const char *driver)
{
    g_autofree char *text = g_strdup_printf(
        "{'execute': '%s, 'job-id': 'j', 'speed': 1, 'filter-node-name': 'f'}}", command);
    g_autofree char *clash =
        g_strdup_printf("{'execute': '%s, 'job-id': 'j', 'filter-node-name': 'top'}}", command);
    stage_refused(s, clash, "GenericError", "node-name 'top' is taken: choose another");
    stage_expect(s, "created null");
    stage_qmp(s, "%s", text);
    g_autofree char *found = driver_of(s, "f");
    g_assert_cmpstr(found, ==, driver);
    stage_refused(s, EXEC("blockdev-del", "'node-name': 'f'"), "GenericError",
                  "node f was not made by -blockdev or blockdev-add: it goes with what made it");
    stage_work(s, 8);
    stage_qmp(s, EXEC("block-job-cancel", "'device': 'j', 'force': true"));
    stage_expect(s, "created running aborting BLOCK_JOB_CANCELLED concluded null");
    g_autofree char *gone = driver_of(s, "f");
    g_assert_null(gone);
}

static void test_a_job_is_a_node_of_the_name(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start(&s, "");
    stage_add_target(&s, "t", "qcow2");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("blockdev-snapshot-sync",
                       "'device': 'd', 'snapshot-file': 'o1.qcow2', 'snapshot-node-name': 'o1'"));
    try_filter(&s, "blockdev-backup', 'arguments': {'device': 'd', 'target': 't', 'sync': 'full'",
               "copy-before-write");
    try_filter(&s, "blockdev-mirror', 'arguments': {'device': 'd', 'target': 't', 'sync': 'full'",
               "mirror_top");
    try_filter(&s, "block-commit', 'arguments': {'device': 'd', 'top-node': 'top'", "commit_top");
    try_filter(&s, "block-commit', 'arguments': {'device': 'd'", "mirror_top");
    try_filter(&s, "block-stream', 'arguments': {'device': 'd'", "copy-on-read");
    stage_work(&s, 12);
    stage_quit(&s);
    stage_judge(&s, "o1.qcow2", s.model, 3);
    stage_remove(&s);
}

/* What was put on such a node sees the disk also when the job has ended. */
static void test_a_node_outlives_its_job(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start(&s, "");
    stage_add_target(&s, "t", "qcow2");
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'full', "
                                          "'job-id': 'j', 'filter-node-name': 'f'"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_qmp(&s, EXEC("blockdev-add", "'driver': 'copy-on-read', 'node-name': 'c', "
                                       "'file': 'f', 'read-only': true"));
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("job-complete", "'id': 'j'"));
    stage_expect(&s, EVENTS_END);
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("blockdev-del", "'node-name': 'c'"));
    stage_work(&s, 12);
    stage_quit(&s);
    stage_judge(&s, "t.qcow2", s.model, 1);
    stage_remove(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-filters/a_backup_is_compressed", test_a_backup_is_compressed);
    g_test_add_func("/block-filters/only_what_compresses_is_a_target",
                    test_only_what_compresses_is_a_target);
    g_test_add_func("/block-filters/a_job_is_a_node_of_the_name", test_a_job_is_a_node_of_the_name);
    g_test_add_func("/block-filters/a_node_outlives_its_job", test_a_node_outlives_its_job);
    return g_test_run();
}
