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

/* Printable ASCII, of which two need an escape. */
static void put_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
    putchar('"');
}

static void put_member(const char *name, const char *value)
{
    printf(",\"%s\":", name);
    put_string(value);
}

static void put_finding(const staplectl_finding_t *finding, apr_pool_t *p)
{
    printf("{\"line\":%d", finding->line);
    put_member("file", finding->file);
    put_member("text", finding->text);
    put_member("directive", finding->name);
    put_member("server", staplectl_dialect_name(finding->dialect));
    put_member("context", staple_text_string(
                              staplectl_section_text(finding->section, p), p));
    put_member("verdict", staplectl_lint_word(finding->verdict));
    put_member("explanation", staple_text_string(finding->why, p));
    putchar('}');
}

static void put_note(const staplectl_note_t *note, apr_pool_t *p)
{
    printf("{\"line\":%d", note->line);
    if (note->file) {
        put_member("file", note->file);
    }
    put_member("text", staple_text_string(note->text, p));
    putchar('}');
}

static void put_counts(const staplectl_lint_t *lint)
{
    int counts[STAPLECTL_LINT_VERDICTS];
    int i;

    count_verdicts(lint, counts);
    printf(",\"counts\":{");
    for (i = 0; i < STAPLECTL_LINT_VERDICTS; i++) {
        printf("%s\"%s\":%d", i ? "," : "",
               staplectl_lint_word((staplectl_lint_verdict_e)i), counts[i]);
    }
    putchar('}');
}

void staplectl_lint_print_json(const staplectl_lint_t *lint)
{
    const apr_array_header_t *notes = lint->reader->notes;
    int i;

    printf("{\"version\":%d,\"files\":%d,\"failures\":%d", JSON_VERSION,
           lint->reader->files, lint->reader->failures);
    put_counts(lint);
    printf(",\"lines\":[");
    for (i = 0; i < lint->findings->nelts; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        put_finding(&APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t),
                    lint->pool);
    }
    printf("],\"notes\":[");
    for (i = 0; i < notes->nelts; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        put_note(&APR_ARRAY_IDX(notes, i, staplectl_note_t), lint->pool);
    }
    printf("]}\n");
}
