/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A UART: registers, FIFOs, interrupts. A byte is sent from the handler that writes it. */
#include "hw/isa/serial.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum { IER_RX = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_ALL = 0x0f };
enum {
    IIR_MODEM = 0x00,
    IIR_NONE = 0x01,
    IIR_THRE = 0x02,
    IIR_RX = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_ID = 0x0f,
    IIR_FIFOS = 0xc0
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04, FCR_KEPT = 0xc9 };
enum {
    LCR_BITS = 0x03,
    LCR_STOP = 0x04,
    LCR_PARITY = 0x08,
    LCR_EVEN = 0x10,
    LCR_BREAK = 0x40,
    LCR_DLAB = 0x80
};
enum {
    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_ALL = 0x1f
};
enum {
    LSR_DR = 0x01,
    LSR_OE = 0x02,
    LSR_PE = 0x04,
    LSR_FE = 0x08,
    LSR_BI = 0x10,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERROR = 0x80,
    LSR_ERRORS = 0x1e
};
enum {
    MSR_DELTAS = 0x0f,
    MSR_TERI = 0x04,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,
    MSR_LINES = 0xf0
};

#define DIVIDER_RESET 12 /* 9600 bit/s */

static void fifo_clear(SerialFifo *fifo)
{
    fifo->head = fifo->count = 0;
}

static void fifo_push(SerialFifo *fifo, uint8_t byte)
{
    fifo->data[(fifo->head + fifo->count++) % SERIAL_FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(SerialFifo *fifo)
{
    uint8_t byte = fifo->data[fifo->head];
    fifo->head = (fifo->head + 1) % SERIAL_FIFO_SIZE;
    fifo->count--;
    return byte;
}

static bool fifos_on(const Serial *s)
{
    return s->fcr & FCR_ENABLE;
}

static unsigned rx_trigger(const Serial *s)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };
    return levels[s->fcr >> 6];
}

/* The highest pending interrupt (data sheet, table IV), from the state alone. */
static uint8_t interrupt_id(const Serial *s)
{
    if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS)) {
        return IIR_LINE;
    }
    if (s->ier & IER_RX) {
        if (fifos_on(s) ? s->rx.count >= rx_trigger(s) : s->lsr & LSR_DR) {
            return IIR_RX;
        }
        if (s->timeout_pending) {
            return IIR_TIMEOUT;
        }
    }
    if ((s->ier & IER_THRE) && s->thre_pending) {
        return IIR_THRE;
    }
    if ((s->ier & IER_MODEM) && (s->msr & MSR_DELTAS)) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update_irq(Serial *s)
{
    int level = interrupt_id(s) != IIR_NONE;
    if (level != s->irq_level) {
        s->irq_level = level;
        s->set_irq(s->opaque, level);
    }
}

/* ---- Line settings ---- */

static unsigned serial_baud(const Serial *s)
{
    return s->baudbase / (s->divider ? s->divider : 1);
}

static unsigned frame_bits(const Serial *s)
{
    return 1 + 5 + (s->lcr & LCR_BITS) + !!(s->lcr & LCR_PARITY) + (s->lcr & LCR_STOP ? 2 : 1);
}

static void line_changed(Serial *s)
{
    if (s->frontend) {
        char parity = !(s->lcr & LCR_PARITY) ? 'N' : s->lcr & LCR_EVEN ? 'E' : 'O';
        char_set_line(s->frontend, serial_baud(s), 5 + (s->lcr & LCR_BITS),
                      s->lcr & LCR_STOP ? 2 : 1, parity, s->lcr & LCR_BREAK);
    }
}

/* The lines as the modem status register shows them now; a change sets its delta bit. RI's is set
 * by its trailing edge only. */
static void update_modem(Serial *s)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (s->mcr & MCR_LOOP) {
        lines = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
    }
    uint8_t deltas = ((lines ^ s->msr) & MSR_LINES) >> 4;
    if (lines & MSR_RI) {
        deltas &= ~MSR_TERI;
    }
    s->msr = lines | (s->msr & MSR_DELTAS) | deltas;
}

/* ---- Receiving ---- */

/* Fewer bytes than the trigger level interrupt after four character times without traffic. */
static void rx_timer_restart(Serial *s)
{
    if (s->rx.count && fifos_on(s)) {
        int64_t characters = 4LL * frame_bits(s) * NS_PER_SEC / MAX(serial_baud(s), 1u);
        timer_arm(&s->rx_timer, clock_now(VM_CLOCK_VIRTUAL) + characters);
    } else if (timer_expires(&s->rx_timer) >= 0) {
        timer_cancel(&s->rx_timer);
    }
}

static void rx_timer_fired(void *opaque)
{
    Serial *s = opaque;
    if (s->rx.count) {
        s->timeout_pending = true;
        update_irq(s);
    }
}

static void receive_byte(Serial *s, uint8_t byte)
{
    if (!fifos_on(s)) {
        s->lsr |= s->lsr & LSR_DR ? LSR_OE : 0;
        s->rbr = byte;
    } else if (s->rx.count < SERIAL_FIFO_SIZE) {
        fifo_push(&s->rx, byte);
    } else {
        s->lsr |= LSR_OE; /* the byte in the shift register is lost */
    }
    s->lsr |= LSR_DR;
}

static size_t receive_room(const Serial *s)
{
    if (s->mcr & MCR_LOOP) {
        return 0; /* the input pin is cut off: what comes waits at the chardev */
    }
    return fifos_on(s) ? SERIAL_FIFO_SIZE - s->rx.count : !(s->lsr & LSR_DR);
}

static size_t serial_can_read(void *opaque)
{
    Serial *s = opaque;
    g_mutex_lock(s->lock);
    size_t room = receive_room(s);
    g_mutex_unlock(s->lock);
    return room;
}

static void serial_input(void *opaque, const uint8_t *data, size_t len)
{
    Serial *s = opaque;
    g_mutex_lock(s->lock);
    /* The guest may have switched the FIFOs off since can_read: the excess overruns. */
    for (size_t i = 0; i < len; i++) {
        receive_byte(s, data[i]);
    }
    rx_timer_restart(s);
    update_irq(s);
    g_mutex_unlock(s->lock);
}

static void serial_event(void *opaque, CharEvent event)
{
    Serial *s = opaque;
    if (event != CHAR_EVENT_BREAK) {
        return;
    }
    g_mutex_lock(s->lock);
    if (receive_room(s)) {
        receive_byte(s, 0);
        s->lsr |= LSR_BI | (fifos_on(s) ? LSR_FIFO_ERROR : 0);
        update_irq(s);
    }
    g_mutex_unlock(s->lock);
}

/* Another chardev stands behind the port: it gets the line's settings. */
static void serial_changed(void *opaque)
{
    Serial *s = opaque;
    g_mutex_lock(s->lock);
    line_changed(s);
    g_mutex_unlock(s->lock);
}

static void accept_input(Serial *s)
{
    if (s->frontend) {
        char_accept_input(s->frontend);
    }
}

static uint8_t read_data(Serial *s)
{
    if (!fifos_on(s)) {
        s->lsr &= ~LSR_DR;
    } else if (s->rx.count) {
        s->rbr = fifo_pop(&s->rx);
        s->timeout_pending = false;
        if (!s->rx.count) {
            s->lsr &= ~LSR_DR;
        }
        rx_timer_restart(s);
    }
    accept_input(s);
    return s->rbr;
}

/* ---- Sending ---- */

static void transmitter_empty(Serial *s)
{
    s->lsr |= LSR_THRE | LSR_TEMT;
    s->thre_pending = true;
}

/* Sends what waits; the transmitter is empty when all of it went. */
static void tx_drain(Serial *s)
{
    while (s->tx.count) {
        if (s->frontend && !char_write(s->frontend, &s->tx.data[s->tx.head], 1)) {
            return;
        }
        fifo_pop(&s->tx);
    }
    if (!(s->lsr & LSR_THRE)) {
        transmitter_empty(s);
    }
}

static void serial_writable(void *opaque)
{
    Serial *s = opaque;
    g_mutex_lock(s->lock);
    tx_drain(s);
    update_irq(s);
    g_mutex_unlock(s->lock);
}

/* The common case is one write(2) and an empty transmitter again. Where the chardev is full the
 * byte waits and THRE is clear until it has gone; what overflows the FIFO is lost, as on the chip.
 */
static void write_data(Serial *s, uint8_t byte)
{
    s->thre_pending = false;
    if (s->mcr & MCR_LOOP) {
        receive_byte(s, byte);
        rx_timer_restart(s);
        transmitter_empty(s);
        return;
    }
    if (!s->tx.count && (!s->frontend || char_write(s->frontend, &byte, 1) == 1)) {
        transmitter_empty(s);
        return;
    }
    if (s->tx.count < (fifos_on(s) ? SERIAL_FIFO_SIZE : 1)) {
        fifo_push(&s->tx, byte);
    }
    s->lsr &= ~(LSR_THRE | LSR_TEMT);
}

/* ---- Registers ---- */

static void clear_rx(Serial *s)
{
    fifo_clear(&s->rx);
    s->lsr &= ~(LSR_DR | LSR_BI | LSR_FIFO_ERROR);
    s->timeout_pending = false;
    rx_timer_restart(s);
    accept_input(s);
}

static void clear_tx(Serial *s)
{
    fifo_clear(&s->tx);
    transmitter_empty(s);
}

static void write_fcr(Serial *s, uint8_t value)
{
    bool switched = (value ^ s->fcr) & FCR_ENABLE;
    bool enabled = value & FCR_ENABLE;
    s->fcr = enabled ? value & FCR_KEPT : 0;
    if (switched || (enabled && (value & FCR_CLEAR_RX))) {
        clear_rx(s);
    }
    if (switched || (enabled && (value & FCR_CLEAR_TX))) {
        clear_tx(s);
    }
}

static void write_ier(Serial *s, uint8_t value)
{
    value &= IER_ALL;
    if ((value ^ s->ier) & IER_THRE) {
        /* Enabling it with an empty transmitter interrupts at once. */
        s->thre_pending = (value & IER_THRE) && (s->lsr & LSR_THRE);
    }
    s->ier = value;
}

static void write_mcr(Serial *s, uint8_t value)
{
    bool was_loop = s->mcr & MCR_LOOP;
    s->mcr = value & MCR_ALL;
    update_modem(s);
    if (was_loop && !(s->mcr & MCR_LOOP)) {
        accept_input(s);
    }
}

uint8_t serial_read(Serial *s, unsigned reg)
{
    uint8_t value = 0xff;
    switch (reg) {
    case REG_DATA:
        value = s->lcr & LCR_DLAB ? s->divider & 0xff : read_data(s);
        break;
    case REG_IER:
        value = s->lcr & LCR_DLAB ? s->divider >> 8 : s->ier;
        break;
    case REG_IIR_FCR:
        value = interrupt_id(s);
        if (value == IIR_THRE) {
            s->thre_pending = false;
        }
        value |= fifos_on(s) ? IIR_FIFOS : 0;
        break;
    case REG_LCR:
        value = s->lcr;
        break;
    case REG_MCR:
        value = s->mcr;
        break;
    case REG_LSR:
        value = s->lsr;
        s->lsr &= ~(LSR_ERRORS | LSR_FIFO_ERROR);
        break;
    case REG_MSR:
        value = s->msr;
        s->msr &= ~MSR_DELTAS;
        break;
    case REG_SCR:
        value = s->scr;
        break;
    default:
        break;
    }
    update_irq(s);
    return value;
}

static void write_divider(Serial *s, uint16_t divider)
{
    s->divider = divider;
    line_changed(s);
}

void serial_write(Serial *s, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_DATA:
        if (s->lcr & LCR_DLAB) {
            write_divider(s, (s->divider & 0xff00) | value);
        } else {
            write_data(s, value);
        }
        break;
    case REG_IER:
        if (s->lcr & LCR_DLAB) {
            write_divider(s, (s->divider & 0x00ff) | value << 8);
        } else {
            write_ier(s, value);
        }
        break;
    case REG_IIR_FCR:
        write_fcr(s, value);
        break;
    case REG_LCR:
        s->lcr = value;
        line_changed(s);
        break;
    case REG_MCR:
        write_mcr(s, value);
        break;
    case REG_SCR:
        s->scr = value;
        break;
    default: /* LSR and MSR are for reading */
        break;
    }
    update_irq(s);
}

/* ---- Life and state ---- */

void serial_reset(Serial *s)
{
    s->divider = DIVIDER_RESET;
    s->ier = s->fcr = s->lcr = s->scr = s->rbr = 0;
    s->mcr = MCR_OUT2;
    s->lsr = LSR_THRE | LSR_TEMT;
    s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    s->thre_pending = s->timeout_pending = false;
    fifo_clear(&s->rx);
    fifo_clear(&s->tx);
    timer_cancel(&s->rx_timer);
    s->irq_level = 0;
    s->set_irq(s->opaque, 0);
    accept_input(s);
}

static const CharFrontendOps serial_frontend_ops = {
    .can_read = serial_can_read,
    .read = serial_input,
    .event = serial_event,
    .writable = serial_writable,
    .changeable = true,
    .changed = serial_changed,
};

bool serial_realize(Serial *s, GMutex *lock, const char *chardev_id,
                    void (*set_irq)(void *opaque, int level), void *opaque, GError **error)
{
    s->lock = lock;
    s->set_irq = set_irq;
    s->opaque = opaque;
    timer_init(&s->rx_timer, event_loop_main(), VM_CLOCK_VIRTUAL, lock, rx_timer_fired, s);
    if (chardev_id) {
        Chardev *chardev = chardev_find(chardev_id);
        if (!chardev) {
            return error_set(error, "chardev=%s: there is no chardev of that id", chardev_id);
        }
        s->frontend = char_frontend_attach(chardev, &serial_frontend_ops, s, error);
        if (!s->frontend) {
            return false;
        }
    }
    g_mutex_lock(lock);
    serial_reset(s);
    g_mutex_unlock(lock);
    return true;
}

void serial_unrealize(Serial *s)
{
    g_mutex_lock(s->lock);
    timer_cancel(&s->rx_timer);
    g_mutex_unlock(s->lock);
    char_frontend_detach(s->frontend);
    s->frontend = NULL;
}

static bool serial_post_load(void *base, uint16_t version, GError **error)
{
    Serial *s = base;
    if (s->rx.count > SERIAL_FIFO_SIZE || s->tx.count > SERIAL_FIFO_SIZE ||
        s->rx.head >= SERIAL_FIFO_SIZE || s->tx.head >= SERIAL_FIFO_SIZE) {
        return error_set(error, "a FIFO is longer than %d bytes", SERIAL_FIFO_SIZE);
    }
    s->irq_level = interrupt_id(s) != IIR_NONE;
    s->set_irq(s->opaque, s->irq_level);
    line_changed(s);
    tx_drain(s);
    update_irq(s);
    accept_input(s);
    return true;
}

static const StateField serial_fifo_fields[] = {
    STATE_BUFFER(SerialFifo, data),
    STATE_INT(SerialFifo, head),
    STATE_INT(SerialFifo, count),
    STATE_END,
};

static const StateSection serial_fifo_state = {
    .name = "fifo",
    .version = 1,
    .fields = serial_fifo_fields,
};

static const StateField serial_fields[] = {
    STATE_INT(Serial, divider),
    STATE_INT(Serial, ier),
    STATE_INT(Serial, fcr),
    STATE_INT(Serial, lcr),
    STATE_INT(Serial, mcr),
    STATE_INT(Serial, lsr),
    STATE_INT(Serial, msr),
    STATE_INT(Serial, scr),
    STATE_INT(Serial, rbr),
    STATE_BOOL(Serial, thre_pending),
    STATE_BOOL(Serial, timeout_pending),
    STATE_STRUCT(Serial, rx, &serial_fifo_state),
    STATE_STRUCT(Serial, tx, &serial_fifo_state),
    STATE_TIMER(Serial, rx_timer),
    STATE_END,
};

const StateSection serial_state = {
    .name = "serial",
    .version = 1,
    .fields = serial_fields,
    .post_load = serial_post_load,
};
