/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted images: LUKS headers, good and hostile, key slots, secrets, and images that qemu-img
 * and cryptsetup read as this program writes them, and the other way round.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "block/crypto/luks.h"
#include "block/image.h"
#include "config.h"
#include "tests/unit/qemu-img.h"
#include "vmm/memory/rcu.h"
#include "vmm/object/object.h"
#include "vmm/object/secret.h"
#include "vmm/util/bytes.h"

static char *folder;

#define SECRET_ONE "secret,id=one,data=first"
#define SECRET_TWO "secret,id=two,data=second"

/* ---- Headers ---- */

typedef struct Hostile {
    unsigned offset, bytes; /* of the field; big-endian */
    uint32_t value;
    const char *message;
} Hostile;

static LuksOptions small_options(void)
{
    LuksOptions o = { .hash = CRYPTO_SHA256, .iter_time = 1 };
    o.spec = (SectorSpec){ CRYPTO_AES_256, CRYPTO_XTS, SECTOR_IV_PLAIN64, CRYPTO_SHA256 };
    return o;
}

static void make_header(uint8_t *data)
{
    g_autoptr(GError) error = NULL;
    LuksHeader h;
    LuksOptions o = small_options();
    uint8_t *key = luks_new(&h, &o, &error);
    g_assert_no_error(error);
    crypto_key_free(key, h.key_bytes);
    h.slots[0].active = true;
    h.slots[0].iterations = 1000;
    luks_store(&h, data);
}

static void a_header_survives_storing(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t data[LUKS_HEADER_BYTES], again[LUKS_HEADER_BYTES];
    LuksHeader h;
    make_header(data);
    g_assert_true(luks_parse(&h, data, 4 * MIB, &error));
    g_assert_no_error(error);
    luks_store(&h, again);
    g_assert_cmpmem(data, sizeof(data), again, sizeof(again));
    g_assert_cmpuint(h.payload_sector, ==, 4040);
    g_assert_cmpuint(h.key_bytes, ==, 64);
}

static void hostile_headers_are_refused_by_field(void)
{
    static const Hostile cases[] = {
        { 0, 4, 0x4c554b00, "*no LUKS header*" },
        { 6, 2, 2, "*version 2*" },
        { 8, 4, 0x61657a00, "*cipher 'aez'*" },
        { 40, 4, 0x67636d2d, "*cipher mode 'gcm-*" },
        { 44, 4, 0x626f6f00, "*IV generator*" },
        { 72, 4, 0x68617300, "*hash 'has'*" },
        { 104, 4, 0xffffffff, "*data offset 4294967295*behind the end*" },
        { 104, 4, 8, "*key slot 0*reaches into the data*" },
        { 108, 4, 0, "*key of 0 bytes*" },
        { 108, 4, 0xfffffff0, "*key of 4294967280 bytes*" },
        { 164, 4, 0, "*master key of 0 iterations*" },
        { 164, 4, 0xffffffff, "*master key of 4294967295 iterations*" },
        { 208, 4, 7, "*key slot 0 is neither active nor inactive*" },
        { 212, 4, 0, "*key slot 0 of 0 iterations*" },
        { 212, 4, 0xffffffff, "*key slot 0 of 4294967295 iterations*" },
        { 248, 4, 0, "*key slot 0 at sector 0 is inside the header*" },
        { 248, 4, 0xffffffff, "*key slot 0*reaches into the data*" },
        { 248, 4, 512, "*key slots 0 and 1 overlap*" },
        { 252, 4, 0, "*key slot 0 has 0 stripes*" },
        { 252, 4, 0xffffffff, "*key slot 0 has 4294967295 stripes*" },
        { 252, 4, 8000, "*key slots 0 and 1 overlap*" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        uint8_t data[LUKS_HEADER_BYTES];
        LuksHeader h;
        make_header(data);
        if (cases[i].bytes == 2) {
            store_be16(data + cases[i].offset, (uint16_t)cases[i].value);
        } else {
            store_be32(data + cases[i].offset, cases[i].value);
        }
        bool ok = luks_parse(&h, data, 4 * MIB, &error);
        g_test_message("%zu: %s", i, error ? error->message : "taken");
        g_assert_false(ok);
        g_assert_true(g_pattern_match_simple(cases[i].message, error->message));
    }
}

/* Names that do not end must not be read on into what follows. */
static void a_name_without_end_is_refused(void)
{
    for (unsigned offset = 8; offset <= 72; offset += 32) {
        g_autoptr(GError) error = NULL;
        uint8_t data[LUKS_HEADER_BYTES];
        LuksHeader h;
        make_header(data);
        memset(data + offset, 'a', 32);
        g_assert_false(luks_parse(&h, data, 4 * MIB, &error));
        g_assert_nonnull(strstr(error->message, "does not end"));
    }
}

/* ---- Images ---- */

static bool create(const char *name, const char *format, const char *text, GError **error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autoptr(Opts) options = opts_parse(text, NULL, NULL);
    g_unlink(path);
    return block_image_create(path, format, options, error);
}

static BlockNode *open_image(const char *name, const char *format, const char *key,
                             const char *secret, GError **error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autoptr(Opts) options = opts_new();
    BlockOpenMode mode = { .writable = true };
    if (secret) {
        opts_set(options, key, secret);
    }
    return block_image_open(path, format, options, &mode, error);
}

static void amend(const char *name, const char *secret, const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_parse(text, NULL, NULL);
    BlockNode *node = open_image(name, "luks", "key-secret", secret, &error);
    g_assert_no_error(error);
    bool ok = block_node_image_ops(node)->amend(node, options, NULL, NULL, &error);
    block_node_unref(node);
    g_test_message("%s: %s", text, error ? error->message : "done");
    g_assert_true(ok == !message);
    g_assert_true(!message || g_pattern_match_simple(message, error->message));
}

static bool opens(const char *name, const char *secret)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = open_image(name, "luks", "key-secret", secret, &error);
    if (node) {
        block_node_unref(node);
        return true;
    }
    g_assert_nonnull(strstr(error->message, "no key slot opens with the password of the secret"));
    return false;
}

static void key_slots_come_and_go(void)
{
    g_autoptr(GError) error = NULL;
    create("slots", "luks", "size=1M,key-secret=one,iter-time=1", &error);
    g_assert_no_error(error);
    g_assert_true(opens("slots", "one"));
    g_assert_false(opens("slots", "two"));
    amend("slots", "one", "state=active,new-secret=two,iter-time=1", NULL);
    g_assert_true(opens("slots", "one") && opens("slots", "two"));
    amend("slots", "one", "state=active,new-secret=two,keyslot=1,iter-time=1",
          "*key slot 1 is in use*");
    amend("slots", "one", "state=active", "*'new-secret' must say*");
    amend("slots", "one", "state=inactive", "*needs 'keyslot'*or 'old-secret'*");
    amend("slots", "one", "state=inactive,keyslot=8", "*no key slot 8*0 to 7*");
    amend("slots", "one", "state=inactive,keyslot=5", "*key slot 5 is inactive already*");
    amend("slots", "one", "state=inactive,keyslot=1,old-secret=one",
          "*key slot 1*another password*");
    amend("slots", "two", "state=inactive,old-secret=one", NULL);
    g_assert_false(opens("slots", "one"));
    amend("slots", "two", "state=inactive,keyslot=1", "*key slot 1 is the only one in use*");
    amend("slots", "two", "state=inactive,old-secret=two", "*every active key slot*");
    amend("slots", "two", "state=inactive,old-secret=one", "*no active key slot has the password*");
    g_assert_true(opens("slots", "two"));
}

static void an_image_without_its_key_is_refused(void)
{
    static const struct {
        const char *format, *options, *key, *wrong;
    } cases[] = {
        { "luks", "size=1M,key-secret=one,iter-time=1", "key-secret", "two" },
        { "qcow2", "size=1M,encrypt.format=luks,encrypt.key-secret=one,encrypt.iter-time=1",
          "encrypt.key-secret", "two" },
        { "qcow2", "size=1M,encryption=on,encrypt.key-secret=one", "encrypt.key-secret", NULL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        create("closed", cases[i].format, cases[i].options, &error);
        g_assert_no_error(error);
        g_assert_null(open_image("closed", cases[i].format, NULL, NULL, &error));
        g_assert_nonnull(strstr(error->message, cases[i].key));
        g_clear_error(&error);
        g_assert_null(open_image("closed", cases[i].format, cases[i].key, "nobody", &error));
        g_assert_nonnull(strstr(error->message, "No secret with id 'nobody'"));
        g_clear_error(&error);
        if (cases[i].wrong) {
            g_assert_null(
                open_image("closed", cases[i].format, cases[i].key, cases[i].wrong, &error));
            g_assert_nonnull(strstr(error->message, "no key slot opens"));
        }
    }
}

static void a_machine_refuses_legacy_aes(void)
{
    g_autoptr(GError) error = NULL;
    create("legacy", "qcow2", "size=1M,encryption=on,encrypt.key-secret=one", &error);
    g_assert_no_error(error);
    block_allow_legacy_encryption(false);
    g_assert_null(open_image("legacy", "qcow2", "encrypt.key-secret", "one", &error));
    g_assert_nonnull(strstr(error->message, "old AES encryption"));
    block_allow_legacy_encryption(true);
}

/* What is asked of a tool may lie at any byte. */
static void any_byte_can_be_read_and_written(void)
{
    g_autoptr(GError) error = NULL;
    const uint64_t size = 3 * MIB;
    g_autofree uint8_t *model = g_malloc0(size), *data = g_malloc(size);
    GRand *rand = g_rand_new_with_seed(4);
    create("bytes", "luks", "size=3M,key-secret=one,iter-time=1", &error);
    BlockNode *node = open_image("bytes", "luks", "key-secret", "one", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_node_length(node), ==, size);
    g_assert_cmpint(block_pwrite_zeroes(node, 0, size, 0), ==, 0);
    for (int i = 0; i < 200; i++) {
        uint64_t bytes = (uint64_t)g_rand_int_range(rand, 1, i % 9 ? 3000 : 1500000);
        uint64_t offset = (uint64_t)g_rand_int_range(rand, 0, (gint32)(size - bytes));
        memset(data, i + 1, bytes);
        memcpy(model + offset, data, bytes);
        g_assert_cmpint(block_pwrite(node, offset, data, bytes), ==, 0);
        offset = (uint64_t)g_rand_int_range(rand, 0, (gint32)(size - bytes));
        g_assert_cmpint(block_pread(node, offset, data, bytes), ==, 0);
        g_assert_cmpmem(data, bytes, model + offset, bytes);
    }
    block_node_unref(node);
    g_rand_free(rand);
}

/* ---- The judges ---- */

static void fill(uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(i >> 9 ^ i * 7);
    }
}

static void write_image(const char *name, const char *format, const char *key)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *data = g_malloc(MIB);
    BlockNode *node = open_image(name, format, key, "one", &error);
    g_assert_no_error(error);
    fill(data, MIB);
    g_assert_cmpint(block_pwrite(node, 0, data, MIB), ==, 0);
    g_assert_cmpint(block_flush(node), ==, 0);
    block_node_unref(node);
}

static void check_image(const char *name, const char *format, const char *key)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *data = g_malloc(MIB), *model = g_malloc(MIB);
    BlockNode *node = open_image(name, format, key, "one", &error);
    g_assert_no_error(error);
    fill(model, MIB);
    g_assert_cmpint(block_pread(node, 0, data, MIB), ==, 0);
    g_assert_cmpmem(data, MIB, model, MIB);
    block_node_unref(node);
}

/* qemu-img measures its PBKDF for some seconds, and fails at that now and then. */
static bool qemu_img_makes(const char *format, const char *options, const char *name)
{
    for (int i = 0; i < 10; i++) {
        if (!command_run(folder, NULL,
                         "qemu-img convert --object " SECRET_ONE " -f raw -O %s -o %s plain %s",
                         format, options, name)) {
            return true;
        }
    }
    return false;
}

static void qemu_img_agrees(const char *format, const char *prefix, const char *cipher, bool makes)
{
    g_autoptr(GError) error = NULL;
    bool luks = !strcmp(format, "luks");
    g_auto(GStrv) parts = g_strsplit(cipher, ",", 0);
    g_autoptr(GString) options = g_string_new(luks ? "" : "encrypt.format=luks,");
    for (int i = 0; parts[i]; i++) {
        g_string_append_printf(options, "%s%s,", prefix, parts[i]);
    }
    g_autofree char *key = g_strconcat(prefix, "key-secret", NULL);
    g_string_append_printf(options, "%s=one", key);
    g_autofree char *ours = g_strdup_printf("%s,size=1M,%siter-time=1", options->str, prefix);
    create("ours", format, ours, &error);
    g_assert_no_error(error);
    write_image("ours", format, key);
    g_autofree char *image = g_strdup_printf(
        "--object " SECRET_ONE " --image-opts driver=%s,%s=one,file.filename=ours", format, key);
    g_assert_cmpint(
        command_run(folder, NULL, "qemu-img compare %s driver=raw,file.filename=plain", image), ==,
        0);
    g_assert_cmpint(luks ? 0 : command_run(folder, NULL, "qemu-img check %s", image), ==, 0);
    if (makes) {
        g_string_append_printf(options, ",%siter-time=100", prefix);
        g_assert_true(qemu_img_makes(format, options->str, "theirs"));
        check_image("theirs", format, key);
    }
}

static void qemu_img_reads_and_writes_the_same(void)
{
    /* Keys of 192 bits make qemu-img 7.2 abort. */
    static const char *const ciphers[] = {
        "cipher-alg=aes-256",
        "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha1",
        "cipher-alg=aes-256,cipher-mode=ecb,ivgen-alg=plain,hash-alg=sha512",
        "cipher-alg=serpent-256,hash-alg=ripemd160",
        "cipher-alg=twofish-256,cipher-mode=cbc",
        "cipher-alg=cast5-128,cipher-mode=cbc",
    };
    g_autofree char *path = g_build_filename(folder, "plain", NULL);
    g_autofree uint8_t *data = g_malloc(MIB);
    if (!qemu_is_here()) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    fill(data, MIB);
    g_assert_true(g_file_set_contents(path, (char *)data, MIB, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        qemu_img_agrees("luks", "", ciphers[i], i == 0);
        qemu_img_agrees("qcow2", "encrypt.", ciphers[i], i == 1);
    }
}

static void cryptsetup_knows_the_password(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *found = g_find_program_in_path("cryptsetup");
    g_autofree char *sbin = found ? NULL : g_strdup("/sbin/cryptsetup");
    const char *program = found ? found : sbin;
    if (!g_file_test(program, G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("cryptsetup is not installed");
        return;
    }
    create("setup", "luks", "size=1M,key-secret=one,iter-time=1", &error);
    g_assert_no_error(error);
    g_assert_cmpint(
        command_run(folder, NULL, "%s luksDump setup | grep -q 'Payload offset.*4040'", program),
        ==, 0);
    g_assert_cmpint(command_run(folder, NULL,
                                "printf first | %s luksOpen --test-passphrase --key-file - setup",
                                program),
                    ==, 0);
    g_assert_cmpint(command_run(folder, NULL,
                                "printf wrong | %s luksOpen --test-passphrase --key-file - setup",
                                program),
                    !=, 0);
}

/* ---- Secrets ---- */

static void secrets_are_what_was_said(void)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *data;
    size_t bytes;
    g_assert_true(object_create_from_text("secret,id=b64,data=c2Vzc2Ft,format=base64", &error));
    g_assert_true(secret_find_text("b64", &data, &bytes, &error));
    g_assert_cmpmem(data, bytes, "sessam", 6);
    g_autofree char *path = g_build_filename(folder, "secret", NULL);
    g_autofree char *text = g_strdup_printf("secret,id=file,file=%s", path);
    g_assert_true(g_file_set_contents(path, "a\0b\377", 4, NULL));
    g_assert_true(object_create_from_text(text, &error));
    g_assert_true(secret_find("file", &data, &bytes, &error));
    g_assert_cmpmem(data, bytes, "a\0b\377", 4);
    g_assert_false(secret_find_text("file", &data, &bytes, &error));
    g_assert_nonnull(strstr(error->message, "no text (UTF-8)"));
    g_assert_true(object_delete("file", NULL));
    g_assert_true(object_delete("b64", NULL));
}

/* As `openssl enc -aes-256-cbc -K 00..1f -iv 00..0f -a` makes it of "letmein". */
static void a_secret_may_be_enciphered_with_another(void)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *data;
    size_t bytes;
    uint8_t key[32], iv[16], text[16] = "letmein\11\11\11\11\11\11\11\11\11";
    for (unsigned i = 0; i < 32; i++) {
        key[i] = iv[i % 16] = (uint8_t)(i % 32);
    }
    for (unsigned i = 0; i < 16; i++) {
        iv[i] = (uint8_t)i;
    }
    CryptoCipher *cipher = crypto_cipher_new(CRYPTO_AES_256, CRYPTO_CBC, key, 32, &error);
    CryptoSession *session = crypto_session_begin(cipher);
    g_assert_cmpint(crypto_session_run(session, true, iv, text, 16), ==, 0);
    crypto_session_end(cipher, session);
    crypto_cipher_free(cipher);
    g_autofree char *key64 = g_base64_encode(key, 32), *iv64 = g_base64_encode(iv, 16);
    g_autofree char *text64 = g_base64_encode(text, 16);
    g_autofree char *master = g_strdup_printf("secret,id=master,data=%s,format=base64", key64);
    g_autofree char *inner =
        g_strdup_printf("secret,id=inner,data=%s,keyid=master,iv=%s,format=base64", text64, iv64);
    g_assert_true(object_create_from_text(master, &error));
    g_assert_true(object_create_from_text(inner, &error));
    g_assert_no_error(error);
    g_assert_true(secret_find("inner", &data, &bytes, &error));
    g_assert_cmpmem(data, bytes, "letmein", 7);
}

static void bad_secrets_are_refused(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "secret,id=x", "*'data' or 'file' is missing*" },
        { "secret,id=x,data=a,file=b", "*one source*" },
        { "secret,id=x,file=/nowhere/at/all", "*/nowhere/at/all*" },
        { "secret,id=x,data=!!,format=base64", "*not base64*" },
        { "secret,id=x,data=AAAA,format=hex", "*hex*" },
        { "secret,id=x,data=AAAA,iv=AAAA", "*iv=*keyid=*" },
        { "secret,id=x,data=AAAA,keyid=nobody,iv=AAAA", "*No secret with id 'nobody'*" },
        { "secret,id=x,data=AAAA,keyid=one", "*iv= is needed*" },
        { "secret,id=x,data=AAAA,keyid=one,iv=AAAA", "*iv= has 3 bytes*" },
        { "secret,id=x,file=/dev/zero", "*longer than*" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(object_create_from_text(cases[i].text, &error));
        g_test_message("%s: %s", cases[i].text, error->message);
        g_assert_true(g_pattern_match_simple(cases[i].message, error->message));
        g_assert_null(object_find("x"));
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    folder = g_dir_make_tmp("vireo-luks-XXXXXX", NULL);
    block_allow_legacy_encryption(true);
    g_assert_true(object_create_from_text(SECRET_ONE, NULL));
    g_assert_true(object_create_from_text(SECRET_TWO, NULL));
    g_test_add_func("/luks/secrets-are-what-was-said", secrets_are_what_was_said);
    g_test_add_func("/luks/bad-secrets-are-refused", bad_secrets_are_refused);
#ifdef HAVE_GCRYPT
    g_test_add_func("/luks/a-secret-may-be-enciphered-with-another",
                    a_secret_may_be_enciphered_with_another);
    g_test_add_func("/luks/a-header-survives-storing", a_header_survives_storing);
    g_test_add_func("/luks/hostile-headers-are-refused-by-field",
                    hostile_headers_are_refused_by_field);
    g_test_add_func("/luks/a-name-without-end-is-refused", a_name_without_end_is_refused);
    g_test_add_func("/luks/key-slots-come-and-go", key_slots_come_and_go);
    g_test_add_func("/luks/an-image-without-its-key-is-refused",
                    an_image_without_its_key_is_refused);
    g_test_add_func("/luks/a-machine-refuses-legacy-aes", a_machine_refuses_legacy_aes);
    g_test_add_func("/luks/any-byte-can-be-read-and-written", any_byte_can_be_read_and_written);
    g_test_add_func("/luks/qemu-img-reads-and-writes-the-same", qemu_img_reads_and_writes_the_same);
    g_test_add_func("/luks/cryptsetup-knows-the-password", cryptsetup_knows_the_password);
#endif
    int status = g_test_run();
    command_run(NULL, NULL, "rm -rf '%s'", folder);
    g_free(folder);
    objects_delete_all();
    return status;
}
