/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Terminal modes for the character back ends. */
#ifndef VMM_CHARDEV_TTY_H
#define VMM_CHARDEV_TTY_H

#include <stdbool.h>
#include <termios.h>

/* Raw for a guest's console: no echo, no line editing, output newlines as they were. With
 * keep_signals Ctrl-C and the like still signal the process. */
void tty_make_raw(struct termios *mode, bool keep_signals);

#endif
