/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what a section means for the lines in it. Pure.
 *
 * The one idea: sections are of a few kinds only, and a condition (<IfModule>,
 * <IfFile> ...) is hardly ever evaluated. Which one holds is not known from a
 * file; but a line stands in it together with others, or against them, and that
 * is enough to say which line overrides which. Three conditions are settled:
 * what has mod_staple has mod_ssl, it is not LiteSpeed, and an <IfDefine> holds
 * below its Define.
 */

#include "lint.h"

#include <string.h>
#include <strings.h>

#include <apr_strings.h>

static const struct {
    const char *name;
    staplectl_section_e kind;
} kinds[] = {
    { "IfModule", STAPLECTL_SECTION_CONDITION },
    { "IfDefine", STAPLECTL_SECTION_CONDITION },
    { "IfVersion", STAPLECTL_SECTION_CONDITION },
    { "IfFile", STAPLECTL_SECTION_CONDITION },
    { "IfDirective", STAPLECTL_SECTION_CONDITION },
    { "IfSection", STAPLECTL_SECTION_CONDITION },
    { "VirtualHost", STAPLECTL_SECTION_VHOST },
    { "Directory", STAPLECTL_SECTION_DIRECTORY },
    { "DirectoryMatch", STAPLECTL_SECTION_DIRECTORY },
    { "Location", STAPLECTL_SECTION_DIRECTORY },
    { "LocationMatch", STAPLECTL_SECTION_DIRECTORY },
    { "Files", STAPLECTL_SECTION_DIRECTORY },
    { "FilesMatch", STAPLECTL_SECTION_DIRECTORY },
    { "If", STAPLECTL_SECTION_DIRECTORY },
    { "ElseIf", STAPLECTL_SECTION_DIRECTORY },
    { "Else", STAPLECTL_SECTION_DIRECTORY },
    { "Limit", STAPLECTL_SECTION_DIRECTORY },
    { "LimitExcept", STAPLECTL_SECTION_DIRECTORY },
    { "Proxy", STAPLECTL_SECTION_DIRECTORY },
    { "ProxyMatch", STAPLECTL_SECTION_DIRECTORY },
    { "RequireAll", STAPLECTL_SECTION_DIRECTORY },
    { "RequireAny", STAPLECTL_SECTION_DIRECTORY },
    { "RequireNone", STAPLECTL_SECTION_DIRECTORY },
    { "Macro", STAPLECTL_SECTION_MACRO },
    { "MDomainSet", STAPLECTL_SECTION_DOMAIN },
    { "MDomain", STAPLECTL_SECTION_DOMAIN },
    { "Perl", STAPLECTL_SECTION_CODE }
};

staplectl_section_e staplectl_section_kind(const char *name)
{
    apr_size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (!strcasecmp(name, kinds[i].name)) {
            return kinds[i].kind;
        }
    }
    return STAPLECTL_SECTION_OTHER;
}

const staplectl_section_t *staplectl_section_find(
    const staplectl_section_t *section, staplectl_section_e kind)
{
    while (section && section->kind != kind) {
        section = section->parent;
    }
    return section;
}

const staplectl_section_t *staplectl_section_server(
    const staplectl_section_t *section)
{
    while (section && section->kind != STAPLECTL_SECTION_VHOST
           && section->kind != STAPLECTL_SECTION_MACRO) {
        section = section->parent;
    }
    return section;
}

/* ----- conditions ----- */

/* 1: it holds wherever mod_staple does, -1: it never does, 0: who knows. */
static int truth_of(const staplectl_section_t *condition)
{
    static const char *const present[] = { "ssl_module", "mod_ssl.c",
                                           "staple_module", "mod_staple.c" };
    int is_negated = *condition->arg == '!';
    const char *arg = condition->arg + is_negated;
    int truth = !strcasecmp(arg, "litespeed") ? -1 : 0;
    apr_size_t i;

    if (strcasecmp(condition->name, "IfModule")) {
        return condition->truth;
    }
    for (i = 0; i < sizeof(present) / sizeof(*present); i++) {
        if (!strcasecmp(arg, present[i])) {
            truth = 1;
        }
    }
    return is_negated ? -truth : truth;
}

const staplectl_section_t *staplectl_section_skipped(
    const staplectl_section_t *section)
{
    for (; section; section = section->parent) {
        if (section->kind == STAPLECTL_SECTION_CONDITION
            && truth_of(section) < 0) {
            return section;
        }
    }
    return NULL;
}

int staplectl_section_is_certain(const staplectl_section_t *section)
{
    for (; section; section = section->parent) {
        if (section->kind == STAPLECTL_SECTION_MACRO
            || (section->kind == STAPLECTL_SECTION_CONDITION
                && truth_of(section) <= 0)) {
            return 0;
        }
    }
    return 1;
}

/* The next condition outwards that may hold or not, within the server. */
static const staplectl_section_t *open_condition(
    const staplectl_section_t *section)
{
    while (section && section->kind != STAPLECTL_SECTION_VHOST
           && section->kind != STAPLECTL_SECTION_MACRO) {
        if (section->kind == STAPLECTL_SECTION_CONDITION
            && !truth_of(section)) {
            return section;
        }
        section = section->parent;
    }
    return NULL;
}

static int is_same_condition(const staplectl_section_t *a,
                             const staplectl_section_t *b)
{
    return a == b
           || (!strcasecmp(a->name, b->name) && !strcasecmp(a->arg, b->arg));
}

static int is_opposite(const staplectl_section_t *a,
                       const staplectl_section_t *b)
{
    int is_a_negated = *a->arg == '!';
    int is_b_negated = *b->arg == '!';

    return is_a_negated != is_b_negated && !strcasecmp(a->name, b->name)
           && !strcasecmp(a->arg + is_a_negated, b->arg + is_b_negated);
}

/* How one condition stands to all those of a line. */
static staplectl_read_e compare_one(const staplectl_section_t *condition,
                                    const staplectl_section_t *section)
{
    staplectl_read_e result = STAPLECTL_READ_SOMETIMES;

    while ((section = open_condition(section))) {
        if (is_opposite(condition, section)) {
            return STAPLECTL_READ_NEVER;
        }
        if (is_same_condition(condition, section)) {
            result = STAPLECTL_READ_ALWAYS;
        }
        section = section->parent;
    }
    return result;
}

staplectl_read_e staplectl_section_compare(
    const staplectl_section_t *earlier, const staplectl_section_t *later,
    const staplectl_section_t **condition)
{
    staplectl_read_e result = STAPLECTL_READ_ALWAYS;

    while ((later = open_condition(later))) {
        staplectl_read_e one = compare_one(later, earlier);

        if (one == STAPLECTL_READ_NEVER) {
            return one;
        }
        if (one == STAPLECTL_READ_SOMETIMES) {
            result = one;
            *condition = later;
        }
        later = later->parent;
    }
    return result;
}

const char *staplectl_section_text(const staplectl_section_t *section,
                                   apr_pool_t *p)
{
    if (!section) {
        return "server level";
    }
    if (section->name[0] == '.') {
        return section->name;
    }
    return *section->arg ? apr_psprintf(p, "<%s %s>", section->name,
                                        section->arg)
                         : apr_psprintf(p, "<%s>", section->name);
}
