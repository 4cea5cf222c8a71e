# Licensed under the Apache License, Version 2.0; see LICENSE.

# The refresher verifies what a ring file brought. One that is killed while it
# is at it leaves nothing behind undone: with the responder down, everything
# that was in the file is stapled all the same.

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
    conf => stapling(), vhosts => [map { { cert => $_ } } @leaves]);

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

my ($incomplete, $killed) = (0, 0);
for my $run (1 .. $runs) {
    $httpd->launch;
    # Hit as soon as it is seen, later each time.
    my $end = time + 120;
    my $refresher;
    until ($refresher || time > $end) {
        $refresher = $httpd->refresher;
    }
    sleep 0.001 * $run;
    $killed += kill 'KILL', $refresher // ();
    $httpd->await_start;
    $incomplete += !wait_for(sub { !missing() });
    ok($httpd->stop, "run $run: httpd stops in good order");
}
is($killed, $runs, 'the refresher was killed each time');
is($incomplete, 0, 'and everything was stapled all the same');
$httpd->log_ok(qr/exit signal Killed/, qr/STP020|STP030/, qr/STP0120/);

done_testing;
