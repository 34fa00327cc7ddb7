/* Frames for a time, and flat memory: what is used after the first tenth is used at the end.
 *
 *     soak PACK PICTURES WORK SECONDS
 */
#include "check.h"

#include <time.h>
#include <unistd.h>

/* Resident memory in kilobytes. */
static long resident(void) {
    long pages = 0, all = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &all, &pages) == 2);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
    static const char *const NAMES[] = {"portrait-2012", "address-2009", "astronaut", "admiral"};
    kf_pack *pack;
    kf_engine *engine = NULL;
    kf_pipeline *pipeline = NULL;
    kf_template *probe = NULL;
    const kf_template *list[1];
    kf_key *key = NULL;
    kf_gallery *gallery = NULL;
    kf_decider *decider = NULL;
    kf_rules rules;
    picture pictures[4];
    char path[1024];
    uint8_t secret[32] = {4};
    uint64_t person = 0, frames = 0;
    long early = 0, late;
    time_t start = time(NULL), length;
    int i;
    CHECK(argc == 5);
    length = (time_t)strtol(argv[4], NULL, 10);
    pack = open_pack(argv[1]);
    OK(kf_engine_load(pack, 0, &engine));
    OK(kf_pipeline_new(engine, NULL, &pipeline));
    OK(kf_template_new(engine, &probe));
    OK(kf_key_from_bytes(secret, 32, &key));
    snprintf(path, sizeof path, "%s/soak.kfgallery", argv[3]);
    OK(kf_gallery_open(path, strlen(path), key, 1000, 0, &gallery));
    OK(kf_rules_init(0.4f, &rules));
    OK(kf_decider_new(&rules, &decider));
    for (i = 0; i < 4; i++) {
        pictures[i] = load_ppm(argv[2], NAMES[i]);
    }
    list[0] = probe;
    while (time(NULL) - start < length || frames < 8) {
        kf_frame frame = frame_of(&pictures[frames % 4]);
        kf_face faces[KF_MAX_FACES];
        kf_match matches[2];
        kf_quality quality;
        kf_observation seen;
        kf_decision decision;
        size_t count = 0, found = 0;
        uint32_t described = 0;
        OK(kf_pipeline_detect(pipeline, &frame, faces, KF_MAX_FACES, &count));
        CHECK(count >= 1);
        OK(kf_pipeline_describe(pipeline, &frame, &faces[0], probe, &quality, &described));
        OK(kf_gallery_search(gallery, probe, matches, 2, &found));
        memset(&seen, 0, sizeof seen);
        seen.struct_size = sizeof seen;
        seen.seen = KF_SEEN_FACE;
        seen.time_us = ++frames * 66666;
        seen.matches = matches;
        seen.match_count = (uint32_t)found;
        OK(kf_decider_step(decider, &seen, NULL, NULL, &decision));
        /* Somebody comes and goes, once in a while. */
        if (frames % 64 == 1) {
            OK(kf_gallery_enrol(gallery, "Visitor", 7, list, 1, frames, &person));
        } else if (frames % 64 == 33) {
            OK(kf_gallery_remove(gallery, "Visitor", 7, &found));
        }
        if (early == 0 && frames >= 8 && (time(NULL) - start) * 10 >= length) {
            early = resident();
        }
    }
    late = resident();
    printf("%llu frames in %ld s: %ld kB after the first tenth, %ld kB at the end\n", (unsigned long long)frames,
           (long)(time(NULL) - start), early, late);
    CHECK(late - early < 512);
    for (i = 0; i < 4; i++) {
        free(pictures[i].rgb);
    }
    kf_decider_free(decider);
    kf_gallery_free(gallery);
    kf_key_free(key);
    kf_template_free(probe);
    kf_pipeline_free(pipeline);
    kf_engine_free(engine);
    kf_pack_free(pack);
    return 0;
}
