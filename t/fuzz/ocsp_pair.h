/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_OCSP_PAIR_H
#define STAPLE_T_OCSP_PAIR_H

/*
 * The certificate and issuer that unit test, fuzz target and corpus share.
 * They are fixed, so that a response kept in the corpus stays a response for
 * this certificate. The key is known to the world and signs nothing but
 * tests: with it the fuzzer gets past the signature.
 */

/** The moment at which responses are judged: 2027-01-04 00:00:00 UTC. */
#define PAIR_NOW ((apr_time_t)1799020800 * APR_USEC_PER_SEC)

#define PAIR_CA \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBJTCBzKADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB1Rlc3QgQ0Ew\n" \
    "HhcNMjYwMTAxMDAwMDAwWhcNNDYwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdUZXN0\n" \
    "IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjtlf1VUjizV8CoFcZLNS1I5y\n" \
    "AGJb3MYmU9KfHrvP/fjrg2sAdvmiauwi2BcXxJ/Oib5eCWiVUdHSEgkss5hlzqMT\n" \
    "MBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAiWZJPT9kEJKZ\n" \
    "dNwB0IhpKbdx3w3uxigMVljZZEe29xMCIHonc/bf1Drn5c+4DwZ4cLHoV/N73JiE\n" \
    "fFrdj6EVTHE9\n" \
    "-----END CERTIFICATE-----\n" \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOXICSceHfgVJnWaH\n" \
    "7nLb5CLIKLzXLcI5lqGEw3zTA5WhRANCAASO2V/VVSOLNXwKgVxks1LUjnIAYlvc\n" \
    "xiZT0p8eu8/9+OuDawB2+aJq7CLYFxfEn86Jvl4JaJVR0dISCSyzmGXO\n" \
    "-----END PRIVATE KEY-----\n"

#define PAIR_LEAF \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBGTCBwKADAgECAgISZzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\n" \
    "MB4XDTI2MDEwMTAwMDAwMFoXDTQ2MDEwMTAwMDAwMFowGjEYMBYGA1UEAwwPd3d3\n" \
    "LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENgVdsTK+Li2d\n" \
    "J/Rw2KKm+2wG1Fy+71M6JqTiPnUvdTMuBekYtXtfG+51y1fupVh5L7FxjP3auEiH\n" \
    "JBM34dUVyTAKBggqhkjOPQQDAgNIADBFAiABRXIU+MblG6sSI1YwjuwfdOwwS6a8\n" \
    "Bda3I+LG34I0xAIhAJZNP/K48yW1HGYBIEGjbvR5/uS+3BKRh2P1UnRvFoGP\n" \
    "-----END CERTIFICATE-----\n"

#endif /* STAPLE_T_OCSP_PAIR_H */
