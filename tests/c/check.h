/* What the C programs of the tests share: checks that stop the program, and pictures. */
#ifndef CHECK_H
#define CHECK_H

#include "keyface.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAN_VALUE ((float)NAN)
/* What an out-parameter holds before a call that must not write it. */
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)
#define INVALID KF_STATUS_INVALID_ARGUMENT

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);       \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define EXPECT(call, wanted)                                                                \
    do {                                                                                    \
        kf_status got_ = (call);                                                            \
        if (got_ != (wanted)) {                                                             \
            fprintf(stderr, "%s:%d: %s: %s, not %s\n", __FILE__, __LINE__, #call,           \
                    kf_status_text(got_), kf_status_text(wanted));                          \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define OK(call) EXPECT(call, KF_STATUS_OK)

typedef struct picture {
    uint8_t *rgb;
    uint32_t width, height;
} picture;

/* A binary PPM file of 8 bits, as the test writes them. */
static inline picture load_ppm(const char *folder, const char *name) {
    char path[1024];
    unsigned width = 0, height = 0;
    picture loaded;
    FILE *file;
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s.ppm", folder, name);
    file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fscanf(file, "P6 %u %u 255", &width, &height) == 2 && fgetc(file) == '\n');
    bytes = (size_t)3 * width * height;
    loaded.rgb = (uint8_t *)malloc(bytes);
    CHECK(loaded.rgb != NULL && fread(loaded.rgb, 1, bytes, file) == bytes);
    fclose(file);
    loaded.width = width;
    loaded.height = height;
    return loaded;
}

static inline kf_frame frame_of(const picture *from) {
    kf_frame frame;
    OK(kf_frame_init(KF_PIXEL_FORMAT_RGB8, from->width, from->height, (size_t)3 * from->width, from->rgb,
                     (size_t)3 * from->width * from->height, &frame));
    return frame;
}

static inline kf_pack *open_pack(const char *path) {
    kf_pack *pack = NULL;
    OK(kf_pack_open(path, strlen(path), NULL, &pack));
    return pack;
}

static inline kf_engine *open_engine(const char *path) {
    kf_pack *pack = open_pack(path);
    kf_engine *engine = NULL;
    OK(kf_engine_load(pack, 0, &engine));
    kf_pack_free(pack);
    return engine;
}

#endif
