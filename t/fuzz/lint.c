/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * libFuzzer target for staplectl lint. Proves that no text crashes the reading
 * and judging of configuration, that every stapling line gets a verdict and a
 * reason, in the order of the lines, and that what is shown is printable.
 *
 * Includes are not followed: an input is one file and opens nothing.
 */

#include "../../staplectl/lint/lint.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_true)
{
    if (!is_true) {
        abort();
    }
}

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
    require(finding->line >= *last);
    *last = finding->line;
    require(finding->verdict < STAPLECTL_LINT_VERDICTS);
    check_text(staplectl_lint_word(finding->verdict));
    check_text(finding->text);
    check_text(finding->name);
    check_text(staple_text_string(finding->why, p));
    check_text(staple_text_string(
                   staplectl_section_text(finding->section, p), p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    staplectl_lint_t *lint;
    int last = 1, i;
    char *text;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    lint = staplectl_lint_make(pool);
    lint->reader->follows = 0;
    /* an allocation of its own, so that an overread is seen */
    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    staplectl_reader_text(lint->reader, "input", text, size, NULL, 0);
    free(text);
    staplectl_lint_judge(lint);
    for (i = 0; i < lint->findings->nelts; i++) {
        check_finding(&APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t),
                      &last, pool);
    }
    apr_pool_clear(pool);
    return 0;
}
