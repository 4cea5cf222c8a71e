/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PREFLIGHT_INT_H
#define STAPLE_PREFLIGHT_INT_H

/*
 * What the files of the preflight have in common: the report
 * (staple_preflight.c), what is done without privileges (preflight/child.c),
 * names (preflight/names.c), and the probe (preflight/probe.c).
 */

#include "staple_magic.h"
#include "staple_preflight.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ----- preflight/child.c ----- */

/** What a child does; returns how many things need attention. */
typedef int staple_preflight_work_fn(void *baton, apr_pool_t *p);

/**
 * Have it done by a child without privileges, which prints to standard output,
 * and wait for its end. Where root cannot be given up, that is said instead.
 * @return how many things need attention
 */
int staple_preflight_in_child(server_rec *s, staple_preflight_work_fn *work,
                              void *baton, apr_pool_t *p);

/* ----- preflight/names.c ----- */

/** Somebody to be reached from here. */
typedef struct staple_preflight_target_t {
    const char *host;
    apr_port_t port;
    int uses;         /* how many URLs of certificates lead there */
    const char *role; /* "responder" or "proxy" */
} staple_preflight_target_t;

/**
 * Print the addresses of all (staple_preflight_target_t *), which are looked up
 * side by side within 5 seconds.
 * @return how many cannot be resolved
 */
int staple_preflight_names(server_rec *s, apr_array_header_t *targets,
                           apr_pool_t *p);

/* ----- preflight/probe.c ----- */

/**
 * Ask every responder of every certificate once, in a child without
 * privileges, and print the verdict on each answer.
 * @return how many need attention
 */
int staple_preflight_probe(const staple_preflight_conf_t *conf, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PREFLIGHT_INT_H */
