/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: verdicts as text for people and as JSON for programs.
 *
 * The one idea: the text has the shape of a compiler's, so that an editor can
 * jump to the line; and whatever stood in a file is made printable when it is
 * read, so neither a terminal nor a parser can be fooled.
 */

#include "lint.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "staple_json.h"
#include "staple_text.h"

/* Goes up when members of the JSON change their meaning or go away. */
#define JSON_VERSION 1

const char *staplectl_lint_word(staplectl_lint_verdict_e verdict)
{
    static const char *const words[STAPLECTL_LINT_VERDICTS] = {
        "kept", "changed", "shadowed", "ignored", "conflicting", "illegal"
    };

    return words[verdict];
}

static void count_verdicts(const staplectl_lint_t *lint, int *counts)
{
    int i;

    memset(counts, 0, sizeof(*counts) * STAPLECTL_LINT_VERDICTS);
    for (i = 0; i < lint->findings->nelts; i++) {
        counts[APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t).verdict]++;
    }
}

/* ----- text ----- */

static void print_summary(const staplectl_lint_t *lint)
{
    int counts[STAPLECTL_LINT_VERDICTS];
    int lines = lint->findings->nelts;
    const char *glue = ": ";
    int i;

    count_verdicts(lint, counts);
    printf("%d stapling line%s in %d file%s", lines, staple_text_plural(lines),
           lint->reader->files, staple_text_plural(lint->reader->files));
    for (i = 0; i < STAPLECTL_LINT_VERDICTS; i++) {
        if (counts[i]) {
            printf("%s%d %s", glue, counts[i],
                   staplectl_lint_word((staplectl_lint_verdict_e)i));
            glue = ", ";
        }
    }
    printf("\n");
}

void staplectl_lint_print(const staplectl_lint_t *lint)
{
    const apr_array_header_t *notes = lint->reader->notes;
    int i;

    for (i = 0; i < lint->findings->nelts; i++) {
        const staplectl_finding_t *finding
            = &APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t);

        printf("%s:%d: %s: %s\n    %s\n", finding->file, finding->line,
               staplectl_lint_word(finding->verdict), finding->text,
               staple_text_string(finding->why, lint->pool));
    }
    for (i = 0; i < notes->nelts; i++) {
        const staplectl_note_t *note = &APR_ARRAY_IDX(notes, i,
                                                      staplectl_note_t);

        if (note->file) {
            printf("%s:%d: ", note->file, note->line);
        }
        printf("note: %s\n", staple_text_string(note->text, lint->pool));
    }
    print_summary(lint);
}

/* ----- JSON ----- */

static void write_bytes(void *baton, const char *bytes, apr_size_t len)
{
    fwrite(bytes, 1, len, baton);
}

static void put_finding(staple_json_t *json, const staplectl_finding_t *finding,
                        apr_pool_t *p)
{
    staple_json_open(json, NULL, '{');
    staple_json_number(json, "line", finding->line);
    staple_json_string(json, "file", finding->file);
    staple_json_string(json, "text", finding->text);
    staple_json_string(json, "directive", finding->name);
    staple_json_string(json, "server",
                       staplectl_dialect_name(finding->dialect));
    staple_json_string(json, "context", staple_text_string(
                           staplectl_section_text(finding->section, p), p));
    staple_json_string(json, "verdict",
                       staplectl_lint_word(finding->verdict));
    staple_json_string(json, "explanation",
                       staple_text_string(finding->why, p));
    staple_json_close(json, '}');
}

static void put_note(staple_json_t *json, const staplectl_note_t *note,
                     apr_pool_t *p)
{
    staple_json_open(json, NULL, '{');
    staple_json_number(json, "line", note->line);
    if (note->file) {
        staple_json_string(json, "file", note->file);
    }
    staple_json_string(json, "text", staple_text_string(note->text, p));
    staple_json_close(json, '}');
}

static void put_counts(staple_json_t *json, const staplectl_lint_t *lint)
{
    int counts[STAPLECTL_LINT_VERDICTS];
    int i;

    count_verdicts(lint, counts);
    staple_json_open(json, "counts", '{');
    for (i = 0; i < STAPLECTL_LINT_VERDICTS; i++) {
        staple_json_number(json, staplectl_lint_word(
                               (staplectl_lint_verdict_e)i), counts[i]);
    }
    staple_json_close(json, '}');
}

void staplectl_lint_print_json(const staplectl_lint_t *lint)
{
    const apr_array_header_t *notes = lint->reader->notes;
    staple_json_t json;
    int i;

    staple_json_start(&json, write_bytes, stdout);
    staple_json_open(&json, NULL, '{');
    staple_json_number(&json, "version", JSON_VERSION);
    staple_json_number(&json, "files", lint->reader->files);
    staple_json_number(&json, "failures", lint->reader->failures);
    put_counts(&json, lint);
    staple_json_open(&json, "lines", '[');
    for (i = 0; i < lint->findings->nelts; i++) {
        put_finding(&json, &APR_ARRAY_IDX(lint->findings, i,
                                          staplectl_finding_t), lint->pool);
    }
    staple_json_close(&json, ']');
    staple_json_open(&json, "notes", '[');
    for (i = 0; i < notes->nelts; i++) {
        put_note(&json, &APR_ARRAY_IDX(notes, i, staplectl_note_t),
                 lint->pool);
    }
    staple_json_close(&json, ']');
    staple_json_close(&json, '}');
    printf("\n");
}
