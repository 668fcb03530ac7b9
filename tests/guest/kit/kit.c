/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's core: strings, output, exit, memory, command line. */
#include "kit.h"

#include <stdarg.h>

extern char bss_end[];

BootInfo boot_info;
static uint64_t heap_next;

void *memset(void *p, int c, size_t n)
{
    void *d = p;
    size_t words = n / 8;

    /* Whole words first: an interpreting KVM pays for each step of a string instruction. */
    n %= 8;
    __asm__ volatile("rep stosq"
                     : "+D"(d), "+c"(words)
                     : "a"(0x0101010101010101ull * (uint8_t)c)
                     : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return p;
}

void *memcpy(void *d, const void *s, size_t n)
{
    void *to = d;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n)::"memory");
    return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n > 0; n--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != 0) {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

static void put(char c)
{
    outb(DEBUGCON_PORT, (uint8_t)c);
}

static void put_number(uint64_t v, uint32_t base, int width, char fill)
{
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    for (; width > n; width--) {
        put(fill);
    }
    while (n > 0) {
        put(digits[--n]);
    }
}

static void put_string(const char *s)
{
    while (*s != 0) {
        put(*s++);
    }
}

static void print_one(const char **format, va_list *ap)
{
    const char *f = *format;
    char fill = ' ';
    int width = 0;
    bool wide = false;

    if (*f == '0') {
        fill = '0';
    }
    for (; *f >= '0' && *f <= '9'; f++) {
        width = width * 10 + (*f - '0');
    }
    for (; *f == 'l' || *f == 'z'; f++) {
        wide = true;
    }
    if (*f == 's') {
        put_string(va_arg(*ap, const char *));
    } else if (*f == 'c') {
        put((char)va_arg(*ap, int));
    } else if (*f == 'd') {
        int64_t v = wide ? va_arg(*ap, int64_t) : va_arg(*ap, int);

        if (v < 0) {
            put('-');
            v = -v;
        }
        put_number((uint64_t)v, 10, width, fill);
    } else if (*f == 'x' || *f == 'u') {
        uint64_t v = wide ? va_arg(*ap, uint64_t) : va_arg(*ap, uint32_t);

        put_number(v, *f == 'x' ? 16 : 10, width, fill);
    } else {
        put(*f);
    }
    *format = f;
}

static void print_list(const char *format, va_list *ap)
{
    for (; *format != 0; format++) {
        if (*format == '%') {
            format++;
            print_one(&format, ap);
        } else {
            put(*format);
        }
    }
}

void print(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    print_list(format, &ap);
    va_end(ap);
}

void serial_put(uint16_t port, char c)
{
    while ((inb(port + 5) & 0x20) == 0) {
    }
    outb(port, (uint8_t)c);
}

_Noreturn void guest_exit(uint8_t code)
{
    outb(EXIT_PORT, code);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

_Noreturn void fail(const char *format, ...)
{
    va_list ap;

    put_string("FAIL: ");
    va_start(ap, format);
    print_list(format, &ap);
    va_end(ap);
    put('\n');
    guest_exit(1);
}

void *page_alloc(size_t bytes)
{
    void *p;

    if (heap_next == 0) {
        heap_next = ((uint64_t)bss_end + 0xfffff) & ~0xfffffull;
    }
    p = (void *)heap_next;
    heap_next += (bytes + 4095) & ~4095ull;
    memset(p, 0, bytes);
    return p;
}

const char *arg_string(const char *key)
{
    static char value[256];
    size_t len = strlen(key);
    const char *p = boot_info.cmdline;

    while (p != NULL && *p != 0) {
        while (*p == ' ') {
            p++;
        }
        if (memcmp(p, key, len) == 0 && p[len] == '=') {
            size_t n = 0;

            for (p += len + 1; *p != 0 && *p != ' ' && n < sizeof(value) - 1; p++) {
                value[n++] = *p;
            }
            value[n] = 0;
            return value;
        }
        while (*p != 0 && *p != ' ') {
            p++;
        }
    }
    return NULL;
}

uint64_t arg_number(const char *key, uint64_t otherwise)
{
    const char *s = arg_string(key);
    uint64_t v = 0, base = 10;

    if (s == NULL) {
        return otherwise;
    }
    if (s[0] == '0' && s[1] == 'x') {
        base = 16;
        s += 2;
    }
    for (; *s != 0; s++) {
        uint32_t digit = *s >= 'a' ? (uint32_t)(*s - 'a' + 10) : (uint32_t)(*s - '0');

        if (digit >= base) {
            break;
        }
        v = v * base + digit;
    }
    return v;
}
