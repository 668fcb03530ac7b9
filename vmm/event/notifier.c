/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event notifiers: eventfd(2). */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm/error.h"
#include "vmm/event/loop.h"

bool event_notifier_init(EventNotifier *notifier, GError **error)
{
    notifier->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (notifier->fd < 0) {
        return error_set_errno(error, errno, "cannot create an eventfd");
    }
    return true;
}

void event_notifier_cleanup(EventNotifier *notifier)
{
    if (notifier->fd >= 0) {
        close(notifier->fd);
    }
    notifier->fd = -1;
}

void event_notifier_signal(EventNotifier *notifier)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(notifier->fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR); /* EAGAIN: the counter is full, so it is signalled */
}

bool event_notifier_test_and_clear(EventNotifier *notifier)
{
    uint64_t value;
    ssize_t n;
    do {
        n = read(notifier->fd, &value, sizeof(value));
    } while (n < 0 && errno == EINTR);
    return n == sizeof(value);
}
