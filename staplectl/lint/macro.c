/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: what a <Macro> becomes where it is used (mod_macro). Pure.
 *
 * The one idea: an argument is a word ($name, @name, %name, by custom) that is
 * replaced wherever it stands in the macro's lines. So a line in there has a
 * meaning only together with a Use, and as many as there are of these.
 */

#include "lint.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* The name and the arguments in <Macro NAME ARG ...>. */
static apr_array_header_t *words_of(const staplectl_section_t *section,
                                    apr_pool_t *p)
{
    const staplectl_section_t *macro
        = staplectl_section_find(section, STAPLECTL_SECTION_MACRO);

    return macro ? staplectl_args_split(macro->arg, NULL, p)
                 : apr_array_make(p, 0, sizeof(const char *));
}

static const char *word_at(const apr_array_header_t *words, int i)
{
    return APR_ARRAY_IDX(words, i, const char *);
}

int staplectl_macro_is_open(const staplectl_section_t *section,
                            const char *text, apr_pool_t *p)
{
    const apr_array_header_t *words = words_of(section, p);
    int i;

    for (i = 1; i < words->nelts; i++) {
        if (strstr(text, word_at(words, i))) {
            return 1;
        }
    }
    return 0;
}

/* Macros are called in any case. */
static const char *key_of(const char *name, apr_pool_t *p)
{
    char *key = apr_pstrdup(p, name);
    char *c;

    for (c = key; *c; c++) {
        *c = (char)apr_tolower(*c);
    }
    return key;
}

const apr_array_header_t *staplectl_macro_uses(
    const apr_hash_t *uses, const staplectl_section_t *section, apr_pool_t *p)
{
    const apr_array_header_t *words = words_of(section, p);

    return words->nelts ? apr_hash_get((apr_hash_t *)uses,
                                       key_of(word_at(words, 0), p),
                                       APR_HASH_KEY_STRING)
                        : NULL;
}

/* The argument that text begins with, the longest of several; 0: none. */
static int arg_at(const apr_array_header_t *words, const char *text)
{
    apr_size_t longest = 0;
    int found = 0;
    int i;

    for (i = 1; i < words->nelts; i++) {
        apr_size_t len = strlen(word_at(words, i));

        if (len > longest && !strncmp(text, word_at(words, i), len)) {
            longest = len;
            found = i;
        }
    }
    return found;
}

const char *staplectl_macro_expand(const staplectl_section_t *section,
                                   const staplectl_use_t *use,
                                   const char *text, apr_pool_t *p)
{
    const apr_array_header_t *words = words_of(section, p);
    apr_array_header_t *parts = apr_array_make(p, 4, sizeof(const char *));
    const char *from = text;

    while (*text) {
        int i = arg_at(words, text);

        if (!i) {
            text++;
            continue;
        }
        APR_ARRAY_PUSH(parts, const char *)
            = apr_pstrmemdup(p, from, (apr_size_t)(text - from));
        APR_ARRAY_PUSH(parts, const char *)
            = i <= use->args->nelts ? word_at(use->args, i - 1) : "";
        text += strlen(word_at(words, i));
        from = text;
    }
    APR_ARRAY_PUSH(parts, const char *) = from;
    return apr_array_pstrcat(p, parts, 0);
}

void staplectl_macro_keep(apr_hash_t *uses, const staplectl_line_t *line,
                          apr_pool_t *p)
{
    apr_array_header_t *words = staplectl_args_split(line->args, NULL, p);
    apr_array_header_t *list;
    staplectl_use_t *use;
    const char *key;
    int i;

    if (!words->nelts || !staplectl_section_is_certain(line->section)) {
        return;
    }
    key = key_of(word_at(words, 0), p);
    list = apr_hash_get(uses, key, APR_HASH_KEY_STRING);
    if (!list) {
        list = apr_array_make(p, 4, sizeof(staplectl_use_t));
        apr_hash_set(uses, key, APR_HASH_KEY_STRING, list);
    }
    use = apr_array_push(list);
    use->file = line->file;
    use->line = line->number;
    use->args = apr_array_make(p, words->nelts, sizeof(const char *));
    for (i = 1; i < words->nelts; i++) {
        APR_ARRAY_PUSH(use->args, const char *) = word_at(words, i);
    }
}
