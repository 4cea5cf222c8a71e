/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where the page is: the places at which the configuration has its handler, so
 * that mod_status' page can have a link to it.
 *
 * The one idea: httpd's configuration tree is there for all to read until the
 * server has started, with includes, conditions and macros dissolved in it. A
 * place that it names is only a guess; whoever uses it asks httpd whether the
 * handler is there.
 */

#include "status_int.h"

#include <string.h>

#include <apr_strings.h>
#include <util_cfgtree.h>

static int is_named(const ap_directive_t *node, const char *name)
{
    return !ap_cstr_casecmp(node->directive, name);
}

static const char *first_word(const char *args, apr_pool_t *p)
{
    return ap_getword_conf(p, &args);
}

static int has_handler(const ap_directive_t *section, apr_pool_t *p)
{
    const ap_directive_t *node = section->first_child;

    while (node && !(is_named(node, "SetHandler")
                     && !strcmp(first_word(node->args, p),
                                STAPLE_STATUS_HANDLER))) {
        node = node->next;
    }
    return node != NULL;
}

/* The arguments of a section end in the '>'. */
static const char *path_of(const ap_directive_t *section, apr_pool_t *p)
{
    char *path = apr_pstrdup(p, first_word(section->args, p));
    apr_size_t len = strlen(path);

    if (len && path[len - 1] == '>') {
        path[len - 1] = '\0';
    }
    return *path == '/' ? path : NULL;
}

/* Virtual hosts have sections of their own. */
static void find_places(apr_array_header_t *places,
                        const ap_directive_t *node, apr_pool_t *p)
{
    const char *path;

    for (; node; node = node->next) {
        if (is_named(node, "<VirtualHost")) {
            find_places(places, node->first_child, p);
        }
        else if (is_named(node, "<Location") && has_handler(node, p)
                 && (path = path_of(node, p)) != NULL) {
            APR_ARRAY_PUSH(places, const char *) = path;
        }
    }
}

const apr_array_header_t *staple_status_find_places(apr_pool_t *p)
{
    apr_array_header_t *places = apr_array_make(p, 1, sizeof(const char *));

    find_places(places, ap_conftree, p);
    return places;
}
