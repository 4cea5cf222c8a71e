/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * libFuzzer target for staplectl lint. Proves that no text crashes the reading
 * and judging of configuration, that every stapling line gets a verdict and a
 * reason, in the order of the lines, and that what is shown is printable.
 *
 * An input is one file and opens nothing; one that begins with "@" is up to
 * four, "a" to "d" of a directory of their own, each up to the next "@" at the
 * beginning of a line. They include each other, and nothing else: what names a
 * path with a slash or a dot is not followed.
 */

#include "../../staplectl/lint/lint.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_text.h"

#include "fuzz.h"

#define FILES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    require(text && *text);
    for (; *text; text++) {
        require(*text >= ' ' && *text < 0x7f);
    }
}

static void check_finding(const staplectl_finding_t *finding, int *last,
                          apr_pool_t *p)
{
    if (last) {
        require(finding->line >= *last);
        *last = finding->line;
    }
    require(finding->verdict < STAPLECTL_LINT_VERDICTS);
    check_text(staplectl_lint_word(finding->verdict));
    check_text(finding->text);
    check_text(finding->name);
    check_text(staple_text_string(finding->why, p));
    check_text(staple_text_string(
                   staplectl_section_text(finding->section, p), p));
}

static void read_one(staplectl_lint_t *lint, const char *bytes, size_t size)
{
    /* an allocation of its own, so that an overread is seen */
    char *text = malloc(size + 1);

    memcpy(text, bytes, size);
    text[size] = '\0';
    lint->reader->follows = 0;
    staplectl_reader_text(lint->reader, "input", text, size, NULL, 0);
    free(text);
}

static const char *directory(void)
{
    static char path[64];

    if (!*path) {
        apr_snprintf(path, sizeof(path), "%s/fuzz-lint-%d",
                     access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
                     (int)getpid());
        mkdir(path, 0700);
    }
    return path;
}

static const char *write_file(int i, const char *bytes, size_t size,
                              apr_pool_t *p)
{
    const char *path = apr_psprintf(p, "%s/%c", directory(), 'a' + i);
    FILE *file = fopen(path, "w");

    require(file != NULL);
    fwrite(bytes, 1, size, file);
    fclose(file);
    return path;
}

static void read_files(staplectl_lint_t *lint, char *text, apr_pool_t *p)
{
    const char *paths[FILES] = { NULL };
    char *next = NULL;
    int i;

    for (i = 0; i < FILES && text; i++, text = next) {
        next = strstr(text, "\n@");
        paths[i] = write_file(i, text, next ? (size_t)(next + 1 - text)
                                            : strlen(text), p);
        next = next ? next + 2 : NULL;
    }
    lint->reader->root = directory();
    staplectl_reader_file(lint->reader, paths[0]);
    for (i = 0; i < FILES && paths[i]; i++) {
        unlink(paths[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    staplectl_lint_t *lint;
    const char *text;
    int last = 1, i;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    lint = staplectl_lint_make(pool);
    text = apr_pstrmemdup(pool, (const char *)data, size);
    if (*text == '@' && !strpbrk(text, "/.")) {
        read_files(lint, apr_pstrdup(pool, text + 1), pool);
        last = 0;
    }
    else {
        read_one(lint, (const char *)data, size);
    }
    staplectl_lint_judge(lint);
    for (i = 0; i < lint->findings->nelts; i++) {
        check_finding(&APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t),
                      last ? &last : NULL, pool);
    }
    apr_pool_clear(pool);
    return 0;
}
