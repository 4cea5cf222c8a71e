# Licensed under the Apache License, Version 2.0; see LICENSE.

# The refresher does not keep what only a start needs: mod_ssl writes each
# certificate as PEM into the pool of the start, and the fork has all of that.
# httpd's own process keeps it, for what it allocates later.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

plan skip_all => 'the memory of a sanitizer is not that of a server'
    if $ENV{STAPLE_PRELOAD};
plan skip_all => 'no smaps_rollup here' if !-r '/proc/self/smaps_rollup';

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = $ca->leaves(600, ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [map { { cert => $_ } } @leaves]);

$httpd->start;

# Anonymous memory of a process, shared with others or not, in KB.
sub memory_of_process
{
    my ($pid) = @_;

    return read_file("/proc/$pid/smaps_rollup") =~ /^Anonymous:\s+(\d+)/m
        ? $1 : undef;
}

ok(wait_for(sub { $responder->count >= @leaves }, 60),
   'there is a response for every certificate');
my ($parent, $refresher)
    = map { memory_of_process($_) } $httpd->pid, $httpd->refresher;
cmp_ok($refresher, '<', $parent, 'the refresher has less than it was forked '
       . 'with, for all that it does itself');
wait_for_staple($httpd, 'good', name => $leaves[-1]{name}, ca => $ca);

done_testing();
