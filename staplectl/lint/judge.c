/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: a line becomes a verdict. Pure.
 *
 * The one idea: three passes over the lines in the order in which httpd reads
 * them. First each line by itself: is it read at all, may it stand there, can
 * its arguments be. Then, from the end, which of several lines holds: what is
 * left of them, for each server and directive, are its holders. Then what a
 * line means, which may depend on the holders of others.
 */

#include "lint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

typedef staplectl_finding_t finding_t;
typedef staplectl_directive_t directive_t;
typedef staplectl_section_t section_t;

/* Lines under different conditions that one is compared with; there are never
 * so many for one server. */
#define HOLDERS_MAX 16

/* Lines that use a macro of which each is looked at. */
#define USES_MAX 1000

/* What is being judged. */
typedef struct judging_t {
    staplectl_lint_t *lint;
    apr_hash_t *names;   /* of the directives that httpd reads somewhere */
    apr_hash_t *holders; /* place_t -> array of finding_t *, the last line
                            first */
    apr_pool_t *p;
    /* Once it is known which lines hold: */
    const finding_t *first_on; /* the first line that switches stapling on */
    int has_errors;            /* SSLStaplingReturnResponderErrors is on
                                  somewhere, */
    int has_errors_in_macro;   /* in a macro, */
    int has_errors_inheriting; /* where SSLStaplingFakeTryLater may come from
                                  elsewhere */
} judging_t;

/* Of all lines with the same place one holds. */
typedef struct place_t {
    const section_t *server;
    const directive_t *directive;
} place_t;

static void decide(finding_t *finding, staplectl_lint_verdict_e verdict,
                   const char *why)
{
    finding->verdict = verdict;
    finding->why = why;
}

static finding_t *finding_at(const judging_t *judging, int i)
{
    return &APR_ARRAY_IDX(judging->lint->findings, i, finding_t);
}

/* "/etc/httpd/conf/httpd.conf:12" */
static const char *point_to(const finding_t *finding, apr_pool_t *p)
{
    return apr_psprintf(p, "%s:%d", finding->file, finding->line);
}

static int is_off(const finding_t *finding)
{
    return staplectl_value_is_off(finding->value);
}

static int is_unknown_value(const finding_t *finding)
{
    return finding->is_open || strstr(finding->value, "${") != NULL;
}

/* ----- each line by itself ----- */

static void judge_stranger(const judging_t *judging, finding_t *finding)
{
    const staplectl_setting_t *setting = finding->setting;
    const char *nearest = setting ? NULL
                          : staplectl_directive_nearest(finding->name);

    if (setting) {
        decide(finding, STAPLECTL_LINT_ILLEGAL,
               apr_psprintf(judging->p, "it is a setting of %s, and httpd does "
                            "not start with it; %s",
                            staplectl_dialect_name(setting->dialect),
                            setting->here));
        return;
    }
    decide(finding, STAPLECTL_LINT_ILLEGAL,
           nearest ? apr_psprintf(judging->p, "httpd knows no such directive "
                                  "and does not start; did you mean %s?",
                                  nearest)
                   : "httpd knows no such directive and does not start");
}

/* Why a line may not stand in its section; NULL: it may. */
static const char *find_misplaced(const judging_t *judging,
                                  const finding_t *finding)
{
    const section_t *inner = staplectl_section_find(
        finding->section, STAPLECTL_SECTION_DIRECTORY);
    const section_t *vhost = staplectl_section_find(finding->section,
                                                    STAPLECTL_SECTION_VHOST);
    const char *there = finding->directive->is_main
                        ? "move it to server level, outside of any "
                          "<VirtualHost>"
                        : "move it to server level or into the <VirtualHost>";

    if (inner) {
        return apr_psprintf(judging->p, "httpd refuses it in %s; %s",
                            staplectl_section_text(inner, judging->p), there);
    }
    if (!vhost || !finding->directive->is_main) {
        return NULL;
    }
    return vhost->line
           ? apr_psprintf(judging->p, "httpd refuses it inside the %s of line "
                          "%d%s%s; %s",
                          staplectl_section_text(vhost, judging->p),
                          vhost->line,
                          strcmp(vhost->file, finding->file) ? " in " : "",
                          strcmp(vhost->file, finding->file) ? vhost->file
                          : "", there)
           : apr_psprintf(judging->p, "this file is read inside a "
                          "<VirtualHost>, where httpd refuses it; %s", there);
}

/* What an argument comes to; context stands before the words. */
static void note_value(const judging_t *judging, finding_t *finding,
                       const char *args, const char *context)
{
    const char *words;
    staple_value_e value = staplectl_value_check(finding->directive, args,
                                                 &words, judging->p);

    words = words ? apr_pstrcat(judging->p, context, words, NULL) : NULL;
    if (value == STAPLE_VALUE_REFUSED) {
        decide(finding, STAPLECTL_LINT_ILLEGAL, words);
    }
    else if (value == STAPLE_VALUE_REPLACED) {
        finding->replaced = words;
    }
}

static const char *first_word(const char *args, apr_pool_t *p)
{
    return staple_value_next(&args, p);
}

/* A line of a macro, with the arguments of each line that uses it. */
static void judge_uses(const judging_t *judging, finding_t *finding)
{
    const apr_array_header_t *uses = staplectl_macro_uses(
        judging->lint->uses, finding->section, judging->p);
    const char *value = NULL;
    int i;

    finding->is_open = !uses;
    for (i = 0; uses && i < uses->nelts && i < USES_MAX; i++) {
        const staplectl_use_t *use = &APR_ARRAY_IDX(uses, i, staplectl_use_t);
        const char *args = staplectl_macro_expand(finding->section, use,
                                                  finding->args, judging->p);
        const char *word = first_word(args, judging->p);

        note_value(judging, finding, args,
                   apr_psprintf(judging->p, "used at %s:%d: ", use->file,
                                use->line));
        finding->is_open |= value && strcmp(value, word);
        value = word;
    }
    if (value && !finding->is_open) {
        finding->value = value;
    }
}

static void judge_value(const judging_t *judging, finding_t *finding)
{
    if (staplectl_macro_is_open(finding->section, finding->args, judging->p)) {
        judge_uses(judging, finding);
    }
    else {
        note_value(judging, finding, finding->args, "");
    }
}

static void judge_alone(const judging_t *judging, finding_t *finding)
{
    const section_t *skipped = staplectl_section_skipped(finding->section);
    const char *wrong = NULL;

    if (finding->dialect != STAPLECTL_DIALECT_HTTPD) {
        decide(finding, STAPLECTL_LINT_IGNORED,
               apr_psprintf(judging->p, "httpd does not read %s's files; "
                            "there, %s",
                            staplectl_dialect_name(finding->dialect),
                            finding->setting->here));
    }
    else if (skipped) {
        decide(finding, STAPLECTL_LINT_IGNORED,
               apr_psprintf(judging->p, "httpd with mod_staple skips %s",
                            staplectl_section_text(skipped, judging->p)));
    }
    else if (!finding->directive) {
        judge_stranger(judging, finding);
    }
    else if ((wrong = find_misplaced(judging, finding))) {
        decide(finding, STAPLECTL_LINT_ILLEGAL, wrong);
    }
    else {
        judge_value(judging, finding);
    }
}

/* ----- which one holds ----- */

/* NULL: the main server. mod_md's hold for the domains of their section. */
static const section_t *server_of(const finding_t *finding)
{
    const section_t *domain = staplectl_section_find(finding->section,
                                                     STAPLECTL_SECTION_DOMAIN);

    return domain && finding->directive->owner == STAPLECTL_OF_MD
           ? domain : staplectl_section_server(finding->section);
}

static apr_array_header_t *holders_at(const judging_t *judging,
                                      const section_t *server,
                                      const directive_t *directive)
{
    const place_t place = { server, directive };
    apr_array_header_t *list = apr_hash_get(judging->holders, &place,
                                            sizeof(place));

    if (!list) {
        list = apr_array_make(judging->p, 1, sizeof(finding_t *));
        apr_hash_set(judging->holders,
                     apr_pmemdup(judging->p, &place, sizeof(place)),
                     sizeof(place), list);
    }
    return list;
}

static int is_repeatable(const directive_t *directive)
{
    return directive->kind == STAPLECTL_VALUE_NETWORKS
           || directive->kind == STAPLECTL_VALUE_PATHS;
}

static int is_same_line(const finding_t *a, const finding_t *b)
{
    return a->line == b->line && !strcmp(a->file, b->file);
}

/* The later line that holds instead of one, or may. */
static const finding_t *find_later(const finding_t *finding,
                                   const apr_array_header_t *later,
                                   const section_t **condition)
{
    const finding_t *result = NULL;
    int i;

    *condition = NULL;
    for (i = later->nelts - 1; i >= 0; i--) {
        const finding_t *other = APR_ARRAY_IDX(later, i, finding_t *);
        const section_t *depends = NULL;

        if (is_same_line(finding, other)) {
            continue;
        }
        switch (staplectl_section_compare(finding->section, other->section,
                                          &depends)) {
        case STAPLECTL_READ_ALWAYS:
            *condition = NULL;
            return other;
        case STAPLECTL_READ_SOMETIMES:
            result = other;
            *condition = depends;
            break;
        default:
            break;
        }
    }
    return result;
}

static void judge_order(const judging_t *judging, finding_t *finding)
{
    apr_array_header_t *later = holders_at(judging, server_of(finding),
                                           finding->directive);
    const section_t *condition;
    const finding_t *other = is_repeatable(finding->directive)
                             ? NULL
                             : find_later(finding, later, &condition);

    if (other && !condition) {
        decide(finding, STAPLECTL_LINT_SHADOWED,
               apr_psprintf(judging->p, "the later line %s holds: %s",
                            point_to(other, judging->p), other->text));
        return;
    }
    if (other) {
        /* continued when it is known what the line means */
        finding->why = apr_psprintf(judging->p, "; where %s holds, %s does "
                                    "instead",
                                    staplectl_section_text(condition,
                                                           judging->p),
                                    point_to(other, judging->p));
    }
    if (later->nelts == HOLDERS_MAX) {
        apr_array_pop(later);
    }
    APR_ARRAY_PUSH(later, finding_t *) = finding;
}

/* ----- what others say ----- */

/* Whether a directive is on for a server, by its own lines or the main
 * server's; -1: nothing says so. A line under a condition counts if it says
 * on. */
static int setting_of(const judging_t *judging, const section_t *server,
                      const char *name)
{
    const apr_array_header_t *list
        = holders_at(judging, server, staplectl_directive_find(name));
    int result = -1;
    int i;

    for (i = 0; i < list->nelts; i++) {
        if (!is_off(APR_ARRAY_IDX(list, i, finding_t *))) {
            return 1;
        }
        result = 0;
    }
    return result < 0 && server ? setting_of(judging, NULL, name) : result;
}

/* The first of some lines that says on, or NULL. */
static const finding_t *find_on(const apr_array_header_t *holders)
{
    int i;

    for (i = holders->nelts - 1; i >= 0; i--) {
        const finding_t *finding = APR_ARRAY_IDX(holders, i, finding_t *);

        if (!is_off(finding)) {
            return finding;
        }
    }
    return NULL;
}

/* A line that switches stapling on for a server, or NULL. */
static const finding_t *find_stapling(const judging_t *judging,
                                      const section_t *server)
{
    const apr_array_header_t *own
        = holders_at(judging, server,
                     staplectl_directive_find("SSLUseStapling"));

    if (own->nelts || !server) {
        return find_on(own);
    }
    return find_stapling(judging, NULL);
}

/* The first line that switches stapling on anywhere. */
static const finding_t *find_first_stapling(const judging_t *judging)
{
    int i;

    for (i = 0; i < judging->lint->findings->nelts; i++) {
        const finding_t *finding = finding_at(judging, i);

        if (finding->directive
            && !strcmp(finding->directive->name, "SSLUseStapling")
            && finding->verdict < STAPLECTL_LINT_SHADOWED && !is_off(finding)) {
            return finding;
        }
    }
    return NULL;
}

/* Whether a server has a line of its own in any case. */
static int has_own(const judging_t *judging, const section_t *server,
                   const char *name)
{
    const apr_array_header_t *list
        = holders_at(judging, server, staplectl_directive_find(name));
    const section_t *condition;
    int i;

    for (i = 0; i < list->nelts; i++) {
        if (staplectl_section_compare(server,
                                      APR_ARRAY_IDX(list, i, finding_t *)
                                          ->section, &condition)
            == STAPLECTL_READ_ALWAYS) {
            return 1;
        }
    }
    return 0;
}

static int is_macro(const section_t *server)
{
    return server && server->kind == STAPLECTL_SECTION_MACRO;
}

/* Where SSLStaplingReturnResponderErrors is on. */
static void find_errors(judging_t *judging)
{
    const directive_t *errors
        = staplectl_directive_find("SSLStaplingReturnResponderErrors");
    int i;

    for (i = 0; i < judging->lint->findings->nelts; i++) {
        const finding_t *finding = finding_at(judging, i);

        if (finding->directive == errors
            && finding->verdict < STAPLECTL_LINT_SHADOWED && !is_off(finding)) {
            const section_t *server = server_of(finding);

            judging->has_errors = 1;
            judging->has_errors_in_macro |= is_macro(server);
            judging->has_errors_inheriting
                |= !has_own(judging, server, "SSLStaplingFakeTryLater");
        }
    }
}

static int has_line(const judging_t *judging, const char *name)
{
    return apr_hash_get(judging->names, name, APR_HASH_KEY_STRING) != NULL;
}

static void collect_names(const judging_t *judging)
{
    int i;

    for (i = 0; i < judging->lint->findings->nelts; i++) {
        const finding_t *finding = finding_at(judging, i);

        if (finding->directive
            && !staplectl_section_skipped(finding->section)) {
            apr_hash_set(judging->names, finding->directive->name,
                         APR_HASH_KEY_STRING, finding->directive);
        }
    }
}

/* ----- what a line means ----- */

/* Whether everything is here that a server reads. */
static int is_complete(const staplectl_lint_t *lint)
{
    return lint->is_whole && !lint->reader->missing && !lint->reader->failures;
}

static void judge_use(const judging_t *judging, finding_t *finding)
{
    if (!is_off(finding) && is_complete(judging->lint)
        && !has_line(judging, "SSLStaplingCache")) {
        decide(finding, STAPLECTL_LINT_CONFLICTING,
               "there is no SSLStaplingCache, without which mod_ssl does not "
               "start (AH01958), with mod_staple or not; add one at server "
               "level");
    }
}

/* Whether a line of one server may have its effect where errors are returned by
 * a line of another one: virtual hosts inherit from the main server, and where
 * a macro is used is not looked at. */
static int may_meet_errors(const judging_t *judging, const section_t *server)
{
    if (is_macro(server)) {
        return judging->has_errors;
    }
    return server ? judging->has_errors_in_macro
                  : judging->has_errors_inheriting;
}

/* Whether errors are returned by a line of a server itself or, unless it has
 * one in any case, by the main server's. */
static int may_return_errors(const judging_t *judging, const section_t *server)
{
    static const char name[] = "SSLStaplingReturnResponderErrors";

    return setting_of(judging, server, name) == 1
           || (!has_own(judging, server, name)
               && setting_of(judging, NULL, name) == 1);
}

static void judge_try_later(const judging_t *judging, finding_t *finding)
{
    const section_t *server = server_of(finding);

    if (!is_off(finding) && !may_return_errors(judging, server)
        && !may_meet_errors(judging, server)) {
        decide(finding, STAPLECTL_LINT_IGNORED,
               "it has an effect only with SSLStaplingReturnResponderErrors "
               "on, which mod_staple has off unless it is set; leave it so");
    }
}

static void judge_md(const judging_t *judging, finding_t *finding)
{
    const section_t *server = server_of(finding);
    const finding_t *use = server ? find_stapling(judging, server)
                                  : judging->first_on;

    if (is_off(finding) || !use) {
        return;
    }
    if (server && server->kind == STAPLECTL_SECTION_DOMAIN) {
        decide(finding, STAPLECTL_LINT_KEPT,
               "mod_md staples the certificates of this domain, and mod_staple "
               "the others");
    }
    else if (setting_of(judging, server, "MDStapleOthers") == 0) {
        decide(finding, STAPLECTL_LINT_KEPT,
               "mod_md staples the certificates that it manages, and "
               "mod_staple the others");
    }
    else {
        decide(finding, STAPLECTL_LINT_CONFLICTING,
               apr_psprintf(judging->p, "mod_md is asked first and keeps all "
                            "certificates, so mod_staple has none of those of "
                            "SSLUseStapling at %s; write MDStapling off, or "
                            "MDStapleOthers off to let mod_md have those that "
                            "it manages", point_to(use, judging->p)));
    }
}

/* ----- the ring's place ----- */

static int is_below(const char *path, const char *directory)
{
    apr_size_t len = strlen(directory);

    while (len > 1 && directory[len - 1] == '/') {
        len--;
    }
    return len > 1 && !strncmp(path, directory, len)
           && (path[len] == '/' || !path[len]);
}

static int is_below_any(const char *path, const char *const *directories)
{
    while (*directories && !is_below(path, *directories)) {
        directories++;
    }
    return *directories != NULL;
}

static const char *find_doc_root(const judging_t *judging, const char *path)
{
    const apr_array_header_t *roots = judging->lint->doc_roots;
    int i;

    for (i = 0; i < roots->nelts; i++) {
        const char *root = APR_ARRAY_IDX(roots, i, const char *);

        if (is_below(path, root)) {
            return root;
        }
    }
    return NULL;
}

static void judge_path(const judging_t *judging, finding_t *finding,
                       const char *path)
{
    static const char *const shared[] = { "/tmp", "/var/tmp", NULL };
    static const char *const fleeting[] = { "/run", "/var/run", "/dev/shm",
                                            NULL };
    const char *root = find_doc_root(judging, path);

    if (is_below_any(path, shared)) {
        decide(finding, STAPLECTL_LINT_CHANGED,
               "mod_ssl never made this file, mod_staple does; there anybody "
               "may put something else at its name, or the system empty it: "
               "choose a directory that only root can write to");
    }
    else if (root) {
        decide(finding, STAPLECTL_LINT_CHANGED,
               apr_psprintf(judging->p, "mod_ssl never made this file, "
                            "mod_staple does, and it lies in DocumentRoot %s: "
                            "choose a directory that is not served", root));
    }
    else if (is_below_any(path, fleeting)) {
        decide(finding, STAPLECTL_LINT_KEPT,
               "mod_staple keeps responses in that file, through restarts but "
               "not through a reboot, which empties the directory");
    }
}

static void judge_cache(const judging_t *judging, finding_t *finding)
{
    const char *path = staplectl_value_ring(finding->value, judging->p);
    const char *root = staplectl_reader_root(judging->lint->reader);

    if (!path && has_line(judging, "StapleShare")) {
        decide(finding, STAPLECTL_LINT_CHANGED,
               "mod_ssl keeps responses there; mod_staple keeps them in a ring "
               "in memory and shares them where StapleShare says");
    }
    else if (!path) {
        decide(finding, STAPLECTL_LINT_CHANGED,
               "mod_ssl keeps responses there; mod_staple keeps them in a ring "
               "in memory and shares them there, as StapleShare does");
    }
    else if (!*path) {
        decide(finding, STAPLECTL_LINT_KEPT,
               "mod_staple keeps responses in memory only; with a path they "
               "survive a stop and start");
    }
    else if (is_unknown_value(finding)) {
        return;
    }
    else if (*path == '/') {
        judge_path(judging, finding, path);
    }
    else if (root) {
        judge_path(judging, finding, apr_pstrcat(judging->p, root, "/", path,
                                               NULL));
    }
}

/* ----- the table's words ----- */

static int is_changed(const finding_t *finding)
{
    switch (finding->directive->changes) {
    case STAPLECTL_CHANGES_ALWAYS:
        return 1;
    case STAPLECTL_CHANGES_UNLESS_OFF:
        return !is_off(finding);
    default:
        return 0;
    }
}

/* mod_ssl reads the digits of a time and nothing else. */
static const char *unit_text(const finding_t *finding)
{
    apr_size_t digits = strspn(finding->value, "0123456789");

    return finding->directive->owner == STAPLECTL_OF_SSL
           && finding->directive->kind == STAPLECTL_VALUE_SPAN
           && !is_unknown_value(finding) && finding->value[digits]
           && strcasecmp(finding->value + digits, "s")
           ? "; mod_ssl reads the number alone, as seconds" : "";
}

static void judge_by_table(const judging_t *judging, finding_t *finding)
{
    const directive_t *row = finding->directive;
    const char *unit = unit_text(finding);

    if (row->off && is_off(finding)) {
        decide(finding, is_changed(finding) ? STAPLECTL_LINT_CHANGED
                                            : STAPLECTL_LINT_KEPT, row->off);
    }
    else if (is_changed(finding)) {
        decide(finding, STAPLECTL_LINT_CHANGED,
               apr_psprintf(judging->p, "mod_ssl %s; mod_staple %s%s", row->ssl,
                            row->staple, unit));
    }
    else {
        decide(finding, STAPLECTL_LINT_KEPT,
               apr_psprintf(judging->p, "%s%s%s", row->ssl ? "mod_staple " : "",
                            row->staple, unit));
    }
}

static void judge_meaning(const judging_t *judging, finding_t *finding)
{
    static const struct {
        const char *name;
        void (*decide_it)(const judging_t *judging, finding_t *finding);
    } special[] = {
        { "SSLUseStapling", judge_use },
        { "SSLStaplingCache", judge_cache },
        { "SSLStaplingFakeTryLater", judge_try_later },
        { "MDStapling", judge_md }
    };
    const char *instead = finding->why;
    apr_size_t i;

    judge_by_table(judging, finding);
    for (i = 0; i < sizeof(special) / sizeof(*special); i++) {
        if (!strcmp(finding->directive->name, special[i].name)) {
            special[i].decide_it(judging, finding);
        }
    }
    if (finding->replaced) {
        decide(finding, finding->verdict < STAPLECTL_LINT_CHANGED
                        ? STAPLECTL_LINT_CHANGED : finding->verdict,
               finding->replaced);
    }
    if (is_unknown_value(finding)) {
        finding->why = apr_pstrcat(judging->p, finding->why, finding->is_open
                                   ? "; what the macro's argument is depends "
                                     "on where it is used"
                                   : "; what ${...} is is not known here",
                                   NULL);
    }
    if (instead) {
        finding->why = apr_pstrcat(judging->p, finding->why, instead, NULL);
    }
}

/* ----- notes ----- */

static void note(const judging_t *judging, const char *text)
{
    staplectl_note(judging->lint->reader->notes, NULL, 0, text);
}

/* Two defaults differ, and a line that is not there has no verdict. */
static void note_defaults(const judging_t *judging)
{
    static const char *const names[] = { "SSLStaplingReturnResponderErrors",
                                         "SSLStaplingFakeTryLater" };
    int missing_first = !has_line(judging, names[0]);
    int missing_second = !has_line(judging, names[1]);

    if (missing_first || missing_second) {
        note(judging, apr_psprintf(judging->p, "not set: %s%s%s (mod_ssl: on; "
                                 "mod_staple: off)",
                                 missing_first ? names[0] : "",
                                 missing_first && missing_second ? ", " : "",
                                 missing_second ? names[1] : ""));
    }
}

static void note_cache(const judging_t *judging)
{
    if (!has_line(judging, "SSLStaplingCache") && !is_complete(judging->lint)) {
        note(judging, "no SSLStaplingCache was read: mod_ssl does not start "
                      "with SSLUseStapling on unless another file has one "
                      "(AH01958)");
    }
}

static void note_certificates(const judging_t *judging)
{
    if (has_line(judging, "SSLUseStapling")) {
        note(judging, "certificates are not looked at: httpd -t -D "
                      "DUMP_STAPLING says which of them are stapled, and why "
                      "others are not");
    }
}

static void note_modules(const judging_t *judging)
{
    static const char *const wanted[][2] = {
        { "staple_module", "mod_ssl staples until it is loaded" },
        { "ssl_module", "mod_staple has nothing to do without it" },
        { "socache_shmcb_module", "unless it is built in, httpd refuses "
                                  "SSLStaplingCache shmcb:..." }
    };
    apr_size_t i;

    if (!is_complete(judging->lint)
        || !apr_hash_count(judging->lint->modules)) {
        return;
    }
    for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        if (!apr_hash_get(judging->lint->modules, wanted[i][0],
                          APR_HASH_KEY_STRING)) {
            note(judging, apr_psprintf(judging->p, "no LoadModule %s was read: "
                                       "%s", wanted[i][0], wanted[i][1]));
        }
    }
}

/* ----- the whole ----- */

/* A file that many virtual hosts include says the same thing in each. */
static void drop_repetitions(const judging_t *judging)
{
    apr_array_header_t *all = judging->lint->findings;
    apr_hash_t *told = apr_hash_make(judging->p);
    int i, kept = 0;

    for (i = 0; i < all->nelts; i++) {
        const finding_t finding = *finding_at(judging, i);
        const char *key = apr_psprintf(judging->p, "%s:%d %s %d %s",
                                       finding.file, finding.line,
                                       finding.name, (int)finding.verdict,
                                       finding.why);

        if (!apr_hash_get(told, key, APR_HASH_KEY_STRING)) {
            apr_hash_set(told, key, APR_HASH_KEY_STRING, key);
            *finding_at(judging, kept++) = finding;
        }
    }
    all->nelts = kept;
}

/* Nothing has been said against a line so far. */
static int is_open_case(const finding_t *finding)
{
    return finding->verdict == STAPLECTL_LINT_KEPT;
}

void staplectl_lint_judge(staplectl_lint_t *lint)
{
    judging_t judging = { lint, apr_hash_make(lint->pool),
                          apr_hash_make(lint->pool), lint->pool,
                          NULL, 0, 0, 0 };
    int count = lint->findings->nelts;
    int i;

    collect_names(&judging);
    for (i = 0; i < count; i++) {
        judge_alone(&judging, finding_at(&judging, i));
    }
    for (i = count - 1; i >= 0; i--) {
        if (is_open_case(finding_at(&judging, i))) {
            judge_order(&judging, finding_at(&judging, i));
        }
    }
    judging.first_on = find_first_stapling(&judging);
    find_errors(&judging);
    for (i = 0; i < count; i++) {
        if (is_open_case(finding_at(&judging, i))) {
            judge_meaning(&judging, finding_at(&judging, i));
        }
    }
    if (judging.first_on) {
        note_defaults(&judging);
        note_cache(&judging);
    }
    if (count) {
        note_modules(&judging);
        note_certificates(&judging);
    }
    drop_repetitions(&judging);
}
