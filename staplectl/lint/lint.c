/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what mod_staple will make of a configuration, before it is
 * loaded. This file has the command; staplectl/lint/lint.h says what lies
 * in the others.
 *
 * The one idea: of all the lines that are read only those that are about
 * stapling are kept, with what else has a say: where the server's files are,
 * and which modules it loads.
 */

#include "lint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_text.h"

/* Stapling lines that are looked at. */
#define FINDINGS_MAX 200000

/* Bytes of a line that are shown. */
#define SHOWN 200

enum { DONE = 0, ATTENTION = 1, TROUBLE = 2, UNREADABLE = 3 };

/* ----- what is kept of a line ----- */

static const char *excerpt(const char *text, apr_pool_t *p)
{
    return staple_text_printable(text, strlen(text), SHOWN, p);
}

static staplectl_finding_t *add_finding(staplectl_lint_t *lint,
                                        const staplectl_line_t *line)
{
    staplectl_finding_t *finding = apr_array_push(lint->findings);

    memset(finding, 0, sizeof(*finding));
    finding->file = staple_text_string(line->file, lint->pool);
    finding->line = line->number;
    finding->text = excerpt(staple_value_masked(line->text, lint->pool),
                            lint->pool);
    finding->name = excerpt(line->name, lint->pool);
    finding->args = apr_pstrdup(lint->pool, line->args);
    finding->value = "";
    finding->section = line->section;
    finding->dialect = line->dialect;
    finding->verdict = STAPLECTL_LINT_KEPT;
    return finding;
}

static const char *first_arg(const char *args, apr_pool_t *p)
{
    apr_array_header_t *list = staplectl_args_split(args, NULL, p);

    return list->nelts ? APR_ARRAY_IDX(list, 0, const char *) : "";
}

static void keep_directive(staplectl_lint_t *lint,
                           const staplectl_line_t *line)
{
    const staplectl_directive_t *directive
        = staplectl_directive_find(line->name);
    const staplectl_setting_t *setting
        = directive ? NULL : staplectl_setting_find(line->name);
    staplectl_finding_t *finding;

    if (directive || setting || staplectl_directive_is_meant(line->name)) {
        finding = add_finding(lint, line);
        finding->directive = directive;
        finding->setting = setting;
        finding->value = first_arg(line->args, lint->pool);
    }
}

/* A line may have several; each is told once. */
static void keep_settings(staplectl_lint_t *lint, const staplectl_line_t *line)
{
    const staplectl_setting_t *last = NULL;
    const staplectl_setting_t *setting;
    const char *at = line->text;

    while ((setting = staplectl_setting_next(line->dialect, &at))) {
        if (setting != last) {
            staplectl_finding_t *finding = add_finding(lint, line);

            finding->setting = setting;
            finding->name = setting->name;
        }
        last = setting;
    }
}

/* What is no stapling line and has a say nevertheless. */
static void keep_fact(staplectl_lint_t *lint, const staplectl_line_t *line)
{
    if (!strcasecmp(line->name, "LoadModule")) {
        const char *name = first_arg(line->args, lint->pool);

        apr_hash_set(lint->modules, name, APR_HASH_KEY_STRING, name);
        lint->is_whole |= !strncmp(name, "mpm_", 4);
    }
    else if (!strcasecmp(line->name, "Use")) {
        staplectl_macro_keep(lint->uses, line, lint->pool);
    }
    else if (!strcasecmp(line->name, "DocumentRoot")) {
        APR_ARRAY_PUSH(lint->doc_roots, const char *)
            = first_arg(line->args, lint->pool);
    }
    else if (!strcasecmp(line->name, "ServerRoot")
             || !strcasecmp(line->name, "PidFile")) {
        lint->is_whole = 1;
    }
}

static void keep_line(void *baton, const staplectl_line_t *line)
{
    staplectl_lint_t *lint = STAPLE_CAST(staplectl_lint_t, LINT_MAGIC, baton);

    if (lint->findings->nelts >= FINDINGS_MAX) {
        staplectl_reader_stop(lint->reader, line->file, line->number,
                              "there are more stapling lines than lint looks "
                              "at");
        return;
    }
    if (line->dialect == STAPLECTL_DIALECT_HTTPD) {
        keep_directive(lint, line);
        keep_fact(lint, line);
    }
    else {
        keep_settings(lint, line);
    }
}

staplectl_lint_t *staplectl_lint_make(apr_pool_t *p)
{
    staplectl_lint_t *lint = apr_pcalloc(p, sizeof(*lint));

    lint->magic = LINT_MAGIC;
    lint->pool = p;
    lint->reader = staplectl_reader_make(keep_line, lint, p);
    lint->findings = apr_array_make(p, 16, sizeof(staplectl_finding_t));
    lint->doc_roots = apr_array_make(p, 4, sizeof(const char *));
    lint->modules = apr_hash_make(p);
    lint->uses = apr_hash_make(p);
    return lint;
}

/* ----- the command ----- */

static int exit_status(const staplectl_lint_t *lint)
{
    staplectl_lint_verdict_e worst = STAPLECTL_LINT_KEPT;
    int i;

    for (i = 0; i < lint->findings->nelts; i++) {
        staplectl_lint_verdict_e verdict
            = APR_ARRAY_IDX(lint->findings, i, staplectl_finding_t).verdict;

        worst = verdict > worst ? verdict : worst;
    }
    if (lint->reader->failures) {
        return UNREADABLE;
    }
    if (worst >= STAPLECTL_LINT_CONFLICTING) {
        return TROUBLE;
    }
    return worst > STAPLECTL_LINT_KEPT ? ATTENTION : DONE;
}

int staplectl_lint(const apr_array_header_t *files,
                   const staplectl_lint_options_t *options, apr_pool_t *p)
{
    staplectl_lint_t *lint = staplectl_lint_make(p);
    int i;

    lint->reader->root = options->root;
    lint->reader->is_inside_vhost = options->is_inside_vhost;
    for (i = 0; i < files->nelts; i++) {
        const char *file = APR_ARRAY_IDX(files, i, const char *);
        const char *wrong = staplectl_reader_file(lint->reader, file);

        if (wrong) {
            fprintf(stderr, "staplectl: %s: %s\n",
                    staple_text_string(file, p), wrong);
        }
    }
    staplectl_lint_judge(lint);
    if (options->is_json) {
        staplectl_lint_print_json(lint);
    }
    else if (lint->reader->files) {
        staplectl_lint_print(lint);
    }
    return exit_status(lint);
}
