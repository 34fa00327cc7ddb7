/* A QEMU user-mode plugin that counts the instructions an AArch64 program retires, by class and by function.
 *
 * Debian ships qemu-user with plugin support but without the header, so the few declarations it takes are here (plugin
 * API version 1, QEMU 7.2). Build: gcc -shared -fPIC -O2 -o libcount.so count.c; run:
 * qemu-aarch64 -plugin ./libcount.so -d plugin PROGRAM. tests/arm/count does both. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*exit_cb)(qemu_plugin_id_t id, void *data);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_cb cb, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr, uint64_t n);
extern void qemu_plugin_outs(const char *text);
enum { INLINE_ADD_U64 = 0 };

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct klass {
    const char *name;
    uint32_t mask, value;
    uint64_t count;
};

/* The first match counts. Encodings: Arm ARM, section C4.1. */
static struct klass classes[] = {
    {"sdot", 0xbfe0fc00, 0x0e809400, 0},           /* SDOT (vector) */
    {"sdot", 0xbfc0f400, 0x0f80e000, 0},           /* SDOT (by element) */
    {"udot", 0xbfe0fc00, 0x2e809400, 0},           /* UDOT (vector) */
    {"udot", 0xbfc0f400, 0x2f80e000, 0},           /* UDOT (by element) */
    {"smmla", 0xffe0fc00, 0x4e80a400, 0},          /* SMMLA */
    {"ummla", 0xffe0fc00, 0x6e80a400, 0},          /* UMMLA */
    {"widening", 0x9f20fc00, 0x0e208000, 0},       /* SMLAL, UMLAL */
    {"widening", 0x9f20fc00, 0x0e20c000, 0},       /* SMULL, UMULL */
    {"pairwise", 0x9f3ffc00, 0x0e206800, 0},       /* SADALP, UADALP */
    {"fused", 0xbfa0fc00, 0x0e20cc00, 0},          /* FMLA (vector) */
    {"fused", 0xbf80f400, 0x0f801000, 0},          /* FMLA (by element) */
    {"fused", 0xff208000, 0x1f000000, 0},          /* FMADD */
    {"simd load/store", 0x0e000000, 0x0c000000, 0},
    {"load/store", 0x0a000000, 0x08000000, 0},
    {"simd other", 0x0e000000, 0x0e000000, 0},
    {"other", 0, 0, 0},
};
enum { CLASSES = sizeof classes / sizeof classes[0] };

/* Functions by the name of their symbol; those that do not fit count as the last one. */
static struct function {
    const char *name;
    uint64_t count;
} functions[1024];
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

static uint64_t *counter_of(const char *name)
{
    size_t f = 0;
    if (name == NULL) {
        name = "unknown";
    }
    while (f < FUNCTIONS - 1 && functions[f].name != NULL && strcmp(functions[f].name, name) != 0) {
        f++;
    }
    functions[f].name = f < FUNCTIONS - 1 ? name : "others";
    return &functions[f].count;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);
    /* A block does not leave its function. */
    uint64_t *function = counter_of(qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0)));
    (void)id;
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t code;
        size_t c = 0;
        memcpy(&code, qemu_plugin_insn_data(insn), sizeof code);
        while ((code & classes[c].mask) != classes[c].value) {
            c++;
        }
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &classes[c].count, 1);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, function, 1);
    }
}

static void report(qemu_plugin_id_t id, void *data)
{
    uint64_t total = 0;
    char line[1024];
    (void)id;
    (void)data;
    for (size_t c = 0; c < CLASSES; c++) {
        total += classes[c].count;
        snprintf(line, sizeof line, "count\t%s\t%" PRIu64 "\n", classes[c].name, classes[c].count);
        qemu_plugin_outs(line);
    }
    for (size_t f = 0; f < FUNCTIONS && functions[f].name != NULL; f++) {
        snprintf(line, sizeof line, "function\t%s\t%" PRIu64 "\n", functions[f].name, functions[f].count);
        qemu_plugin_outs(line);
    }
    snprintf(line, sizeof line, "count\ttotal\t%" PRIu64 "\n", total);
    qemu_plugin_outs(line);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
                                                                int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
