/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA over the command line and QMP; memory made of several back ends. */
#include <string.h>
#include "tests/device/libqtest.h"

#define MIB_ (1ULL << 20)

static void test_backends_become_one_memory(void)
{
    QTest *qts = qtest_start("-m 64 -smp 4 -object memory-backend-ram,id=m0,size=16M "
                             "-object memory-backend-memfd,id=m1,size=48M "
                             "-numa node,nodeid=0,cpus=0-1,memdev=m0 "
                             "-numa node,nodeid=1,cpus=2-3,memdev=m1");
    static const char text[] = "on both sides of the border";
    char back[sizeof(text)];

    qtest_memwrite(qts, 16 * MIB_ - 8, text, sizeof(text));
    qtest_memread(qts, 16 * MIB_ - 8, back, sizeof(back));
    g_assert_cmpstr(back, ==, text);
    qtest_write(qts, 64 * MIB_ - 8, 0x1234567887654321, 8);
    g_assert_cmphex(qtest_read(qts, 64 * MIB_ - 8, 8), ==, 0x1234567887654321);
    qtest_stop(qts);
}

static void test_cpus_tell_their_node(void)
{
    QTest *qts = qtest_start("-m 64 -smp 2,maxcpus=4,sockets=2,cores=2,threads=1 "
                             "-numa node,mem=16 -numa node,mem=48 "
                             "-numa cpu,node-id=1,socket-id=0 -numa cpu,node-id=0,socket-id=1");
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-hotpluggable-cpus'}");
    json_object *last = json_object_array_get_idx(list, 0);
    json_object *first = json_object_array_get_idx(list, 3);
    g_autofree char *text = qtest_hmp(qts, "info numa");

    g_assert_cmpint(json_object_get_int(json_at(last, "props.node-id")), ==, 0);
    g_assert_cmpint(json_object_get_int(json_at(first, "props.node-id")), ==, 1);
    g_assert_cmpstr(text, ==,
                    "2 nodes\r\nnode 0 cpus:\r\nnode 0 size: 16 MB\r\nnode 0 plugged: 0 MB\r\n"
                    "node 1 cpus: 0 1\r\nnode 1 size: 48 MB\r\nnode 1 plugged: 0 MB\r\n");
    json_object_put(list);
    qtest_stop(qts);
}

static void test_host_nodes(void)
{
    QTest *qts = qtest_start("-m 32 -object memory-backend-ram,id=m0,size=32M,host-nodes=0,"
                             "policy=bind -machine memory-backend=m0");
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-memdev'}");
    json_object *memdev = json_object_array_get_idx(list, 0);

    g_assert_cmpstr(json_text(memdev, "policy"), ==, "bind");
    g_assert_cmpuint(json_object_array_length(json_at(memdev, "host-nodes")), ==, 1);
    json_object_put(list);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-add', 'arguments': {'qom-type': "
                                      "'memory-backend-ram', 'id': 'm1', 'size': 1048576, "
                                      "'host-nodes': [0], 'policy': 'preferred'}}"));
    qtest_stop(qts);
}

static void test_refused(void)
{
    qtest_assert_refused("-m 64 -numa node,cpus=0,mem=32", "must add up");
    qtest_assert_refused("-m 64 -numa node,nodeid=200,mem=64", "at most 128 NUMA nodes");
    qtest_assert_refused("-m 64 -numa node,nodeid=1,mem=64", "Node ID missing: 0");
    qtest_assert_refused("-m 64 -numa node,mem=32 -numa node,nodeid=0", "NUMA node 0 already");
    qtest_assert_refused("-m 64 -numa node,cpus=3-1,mem=64", "expected N or N-M");
    qtest_assert_refused("-m 64 -numa node,memdev=none", "there is no object 'none'");
    qtest_assert_refused("-m 64 -numa node,mem=64,memdev=x", "mem= or memdev=");
    qtest_assert_refused("-m 64 -numa node,mem=64 -numa dist,src=0,dst=1,val=20",
                         "no such node yet");
    qtest_assert_refused("-m 64 -numa node,mem=64 -numa dist,src=0,dst=0,val=9",
                         "further away than 10");
    qtest_assert_refused("-m 64 -numa node,mem=64,initiator=0", "hmat=on");
    qtest_assert_refused("-m 64 -numa dust", "none of node, dist");
    qtest_assert_refused("-object memory-backend-ram,id=m,size=1M,policy=bind", "needs host-nodes");
    qtest_assert_refused("-object memory-backend-ram,id=m,size=1M,host-nodes=0",
                         "leave out host-nodes");
    qtest_assert_refused("-object memory-backend-ram,id=m,size=1M,host-nodes=1-x,policy=bind",
                         "expected N or N-M");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/numa/back-ends-become-one-memory", test_backends_become_one_memory);
    g_test_add_func("/numa/cpus-tell-their-node", test_cpus_tell_their_node);
    g_test_add_func("/numa/back-ends-bind-to-host-nodes", test_host_nodes);
    g_test_add_func("/numa/bad-nodes-are-refused", test_refused);
    return g_test_run();
}
