# Licensed under the Apache License, Version 2.0; see LICENSE.

# What a start costs for each certificate and for each further virtual host of
# one, in instructions, which unlike times can be repeated. The bounds are those
# of docs/performance.md.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

plan(skip_all => 'no valgrind here')
    if system('valgrind --version >/dev/null 2>&1') != 0;
plan(skip_all => 'a build with sanitizers does not run under valgrind')
    if read_file(build_dir() . '/Makefile') =~ /^STAPLE_CFLAGS =.*-fsanitize/m;

my $program = build_dir() . '/t/tools/certs';

# The instructions within staple_cert_add.
sub count
{
    my (@args) = @_;
    my $said = `valgrind --tool=callgrind --toggle-collect=staple_cert_add \\
                --callgrind-out-file=/dev/null $program @args 2>&1`;

    return $said =~ /Collected : (\d+)/ ? $1 : die $said;
}

my $few = count(10, 0);
my $more = count(30, 0);
my $hosts = count(10, 1000);
my $certificate = ($more - $few) / 20;
my $host = ($hosts - $few) / 1000;

diag(sprintf '%d instructions a certificate, %d a further host', $certificate,
     $host);
cmp_ok($certificate, '>', 1000, 'they are counted');
cmp_ok($certificate, '<=', 400_000, 'a certificate');
cmp_ok($host, '<=', 10_000, 'a further virtual host of a known certificate');

done_testing;
