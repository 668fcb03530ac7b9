/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP clients beside the kit's own: on a second monitor, byte by byte. */
#ifndef TESTS_DEVICE_QMP_CLIENT_H
#define TESTS_DEVICE_QMP_CLIENT_H

#include "tests/device/libqtest.h"

typedef struct QmpClient {
    int fd;
    GString *in; /* not looked at yet */
} QmpClient;

/* A machine with a second monitor on a unix socket, whose path is the caller's. */
QTest *qmp_start_with_second(char **path, const char *options);
void qmp_remove_second(char *path);

/* A client with nothing agreed; the greeting is not read yet. */
QmpClient qmp_client_open(const char *path);
/* The same, behind greeting and qmp_capabilities. */
QmpClient qmp_client_ready(const char *path);
void qmp_client_close(QmpClient *client);
void qmp_client_send(QmpClient *client, const char *text);
void qmp_client_send_bytes(QmpClient *client, const void *data, size_t len);
/* The next line, without its newline; it has to come. The caller frees. */
char *qmp_client_read_line(QmpClient *client);
/* The next line, which has to be JSON. */
json_object *qmp_client_read(QmpClient *client);
/* The next line has this text at the path. */
void qmp_client_expect(QmpClient *client, const char *path, const char *text);
/* The next line is an error of the class whose description has the part. */
void qmp_client_expect_error(QmpClient *client, const char *error_class, const char *part);
/* Waits until the other side has closed the connection. */
void qmp_client_wait_closed(QmpClient *client);

/* What the process has in memory; always 0 under a sanitizer, where it tells nothing. */
unsigned long qmp_resident_kib(GPid pid);

#endif
