# Licensed under the Apache License, Version 2.0; see LICENSE.

# Children verify together what a ring file brought. One that is killed while
# it is at it leaves nothing behind undone: with the responder down, everything
# that was in the file is stapled all the same, and children that are born
# later wait for nobody.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(sleep time);

my $runs = 5;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "host$_.test", ocsp => $responder->url) }
    1 .. ($ENV{STAPLE_PRELOAD} ? 10 : 40);    # a start takes long there
my @names = map { $_->{name} } @leaves;
my $httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [map { { cert => $_ } } @leaves],
    server => "StartServers 4\nServerLimit 4\nThreadsPerChild 4\n"
        . "MinSpareThreads 4\nMaxSpareThreads 16\nMaxRequestWorkers 16\n");

sub missing
{
    my %seen = Staple::Visitors->new($ca, [$httpd], names => \@names,
                                     count => scalar @names, rate => 1000)
        ->finish->tally;

    return @names - $seen{good};
}

$httpd->start;
ok(wait_for(sub { !missing() }), 'everything is stapled');
ok($httpd->stop, 'httpd stops');
$responder->tell('refuse');

my ($incomplete, $slow, $killed) = (0, 0, 0);
for my $run (1 .. $runs) {
    $httpd->launch;
    # The first to be seen is hit on its way in, later each time.
    my @children;
    my $end = time + 20;
    while (!@children && time < $end) {
        @children = $httpd->children;
    }
    sleep 0.001 * $run;
    $killed += kill 'KILL', $children[-1];
    $httpd->await_start;
    $incomplete += !wait_for(sub { !missing() }, 6);

    # A child of later days.
    my $leader = $httpd->wait_for_leader;
    my ($other) = grep { $_ != ($leader // 0) } $httpd->children;
    kill 'KILL', $other if $other;
    my $began = time;
    wait_for(sub { !grep { $_ == ($other // 0) } $httpd->children });
    $incomplete += missing() > 0;
    $slow += time - $began > 1.9 * ($ENV{STAPLE_PATIENCE} || 1);
    ok($httpd->stop, "run $run: httpd stops in good order");
}
is($killed, $runs, 'a child was killed each time');
is($incomplete, 0, 'and everything was stapled all the same');
is($slow, 0, 'without delay later on');
$httpd->log_ok(qr/exit signal Killed/, qr/STP020/, qr/AH00045/);

done_testing;
