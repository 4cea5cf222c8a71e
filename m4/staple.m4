# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What configure.ac needs besides Autoconf's own macros: compiler flags that
# are used only where they are known, and missing things that are named all at
# once, with the package that has them.

# STAPLE_CC_FLAGS(VARIABLE, FLAGS...)
# Append to VARIABLE each of FLAGS that the compiler takes without a remark.
AC_DEFUN([STAPLE_CC_FLAGS], [
  staple_save_CFLAGS=$CFLAGS
  for staple_flag in $2; do
    AC_MSG_CHECKING([whether $CC takes $staple_flag])
    CFLAGS="$staple_save_CFLAGS -Werror $staple_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM],
      [AC_MSG_RESULT([yes])
       $1="$$1 $staple_flag"],
      [AC_MSG_RESULT([no])])
  done
  CFLAGS=$staple_save_CFLAGS
])

# STAPLE_LINK_FLAGS(VARIABLE, FLAGS...)
# Append to VARIABLE each of FLAGS that a program can be linked with.
AC_DEFUN([STAPLE_LINK_FLAGS], [
  staple_save_LDFLAGS=$LDFLAGS
  for staple_flag in $2; do
    AC_MSG_CHECKING([whether $CC links with $staple_flag])
    LDFLAGS="$staple_save_LDFLAGS $staple_flag"
    AC_LINK_IFELSE([AC_LANG_PROGRAM],
      [AC_MSG_RESULT([yes])
       $1="$$1 $staple_flag"],
      [AC_MSG_RESULT([no])])
  done
  LDFLAGS=$staple_save_LDFLAGS
])

# STAPLE_FORTIFY(VARIABLE)
# Set VARIABLE to the highest _FORTIFY_SOURCE that compiler and C library know,
# as a flag; to nothing if it is chosen already, or nothing is optimized.
AC_DEFUN([STAPLE_FORTIFY], [
  staple_save_CFLAGS=$CFLAGS
  $1=
  for staple_flag in -D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=2; do
    AC_MSG_CHECKING([whether $staple_flag is to be added])
    CFLAGS="$staple_save_CFLAGS -Werror"
    staple_fortify=no
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
        #if !defined(__OPTIMIZE__) || defined(_FORTIFY_SOURCE)
        #error "no use, or chosen already"
        #endif
      ]])],
      [CFLAGS="$CFLAGS $staple_flag"
       AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]])],
         [staple_fortify=yes])])
    AC_MSG_RESULT([$staple_fortify])
    AS_IF([test $staple_fortify = yes],
      [$1=$staple_flag
       break])
  done
  CFLAGS=$staple_save_CFLAGS
])

# STAPLE_HARDEN(CFLAGS, LDFLAGS, PIE-LDFLAGS, FORTIFY)
# What makes a fault harder to exploit, as far as compiler and linker have it:
# append to the variables CFLAGS and LDFLAGS, and set PIE-LDFLAGS to what a
# program needs besides. Without FORTIFY (yes or no), which sanitizers replace
# and which a build without optimization does not have, the rest is the same.
AC_DEFUN([STAPLE_HARDEN], [
  staple_harden=
  STAPLE_CC_FLAGS([staple_harden],
    [-fstack-protector-strong -fstack-clash-protection dnl
-fcf-protection -mbranch-protection=standard])
  AS_IF([test "x$4" = xyes], [STAPLE_FORTIFY([staple_level])], [staple_level=])
  $3=
  AC_MSG_CHECKING([whether $CC makes position-independent programs anyway])
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
      #if !defined(__PIE__) && !defined(__PIC__)
      #error "no"
      #endif
    ]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     staple_harden="$staple_harden -fPIE"
     $3=-pie])
  $1="$$1$staple_harden $staple_level"
  STAPLE_LINK_FLAGS([$2], [-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack])
])

# STAPLE_LACKS(WHAT, DEBIAN-PACKAGE, RHEL-PACKAGE)
# Remember that WHAT is missing.
AC_DEFUN([STAPLE_LACKS], [
  staple_lacks="$staple_lacks
  - $1
      Debian, Ubuntu: apt-get install $2
      RHEL, Fedora:   dnf install $3"
])

# STAPLE_REFUSE_LACKS
# Stop if anything was missing so far.
AC_DEFUN([STAPLE_REFUSE_LACKS], [
  AS_IF([test -n "$staple_lacks"],
    [AC_MSG_ERROR([this is missing:
$staple_lacks
])])
])

# STAPLE_ASAN_LIBRARY(VARIABLE)
# Set VARIABLE to the shared run-time library of AddressSanitizer that belongs
# to the compiler, or stop. GCC calls it libasan, clang libclang_rt.asan; clang
# would name GCC's, too, which its code cannot use.
AC_DEFUN([STAPLE_ASAN_LIBRARY], [
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
      #ifndef __clang__
      #error "not clang"
      #endif
    ]])],
    [staple_names="libclang_rt.asan-$host_cpu.so libclang_rt.asan.so"
     staple_deb=libclang-rt-dev staple_rpm=compiler-rt],
    [staple_names=libasan.so
     staple_deb=gcc staple_rpm="libasan libubsan"])
  AC_MSG_CHECKING([for the AddressSanitizer library of $CC])
  $1=
  for staple_name in $staple_names; do
    staple_file=`$CC -print-file-name=$staple_name 2>/dev/null`
    AS_CASE([$staple_file], [/*],
      [AS_IF([test -e "$staple_file"],
         [$1=`readlink -f "$staple_file"`
          break])])
  done
  AC_MSG_RESULT([${$1:-no}])
  AS_IF([test -z "$$1"],
    [STAPLE_LACKS([the AddressSanitizer library of $CC, of the same version],
       [$staple_deb], [$staple_rpm])
     STAPLE_REFUSE_LACKS])
])

# STAPLE_SYSTEM_INCLUDES(FLAGS)
# The shell word that prints FLAGS with -I turned into -isystem: the headers of
# others are not held against our warnings. /usr/include is dropped, for it is
# searched anyway and must not move to the front.
AC_DEFUN([STAPLE_SYSTEM_INCLUDES],
  [`AS_ECHO([" $1 "]) | sed -e 's| -I */usr/include | |g' dnl
-e 's| -I */| -isystem /|g' -e 's|^ *||;s| *$||'`])
