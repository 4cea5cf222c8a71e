/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Replays the seeds of a fuzz target, and whatever once failed there, through
 * the target itself: it is linked with t/fuzz/NAME.c and called seeds_NAME. A
 * case that fails ends the program.
 */

#include "tap.h"

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>

#define SEED_MAX (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *path, const char *name)
{
    static uint8_t bytes[SEED_MAX];
    FILE *file = fopen(path, "rb");
    size_t len = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

    ok(file && !LLVMFuzzerTestOneInput(bytes, len), "seed %s", name);
    if (file) {
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    const char *top = getenv("STAPLE_SRCDIR");
    const char *target = argc ? strrchr(argv[0], '_') : NULL;
    char folder[1024], path[2048];
    struct dirent *entry;
    DIR *dir;

    snprintf(folder, sizeof(folder), "%s/t/fuzz/corpus/%s", top ? top : ".",
             target ? target + 1 : "");
    dir = opendir(folder);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            replay(path, entry->d_name);
        }
    }
    ok(tap_run > 1, "seeds were found in %s", folder);
    if (dir) {
        closedir(dir);
    }
    return tap_done();
}
