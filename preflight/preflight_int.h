/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PREFLIGHT_INT_H
#define STAPLE_PREFLIGHT_INT_H

/*
 * What the files of the preflight have in common: the report
 * (staple_preflight.c), and the probe (preflight/probe.c).
 */

#include "staple_preflight.h"

#ifdef __cplusplus
extern "C" {
#endif

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
