# Licensed under the Apache License, Version 2.0; see LICENSE.

# A cold start holds back its first accept until what is missing was fetched,
# within bounds: the very first handshake is stapled if the responder answers
# in time, and a responder that does not answer costs no more than the bound.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# The staple of the very first handshake, and how long it took to come.
sub first
{
    my ($fault, $leaf, @conf) = @_;
    my $httpd = Staple::Httpd->new(conf => stapling(@conf),
                                   vhosts => [{ cert => $leaf }]);

    $responder->only($fault);
    my $began = time;
    $httpd->start;
    my $got = handshake($httpd);
    my $took = time - $began;
    ok($httpd->stop, "$fault: httpd stops in good order");
    $httpd->log_ok(qr/\[staple:(?:warn|crit)\]/);
    return ($got->{staple}, $took);
}

my $leaf = $ca->leaf(ocsp => $responder->url);
my $must = $ca->leaf(ocsp => $responder->url, must_staple => 1);

my ($staple, $took) = first('slow 1500', $leaf, 'StapleWarmup 60');
is($staple, 'good', 'a responder that takes 1.5 s: the first is stapled');

($staple, $took) = first('slow 1500', $must);
is($staple, 'good', 'must-staple is waited for longer: 1.5 s');

($staple) = first('slow 60000', $leaf);
is($staple, 'none', 'others are waited for no longer than 500 ms');

($staple) = first('slow 60000', $leaf, 'StapleWarmup 0');
is($staple, 'none', 'StapleWarmup 0 does not wait');

($staple, $took) = first('http 500', $must, 'StapleWarmup 10min');
is($staple, 'none', 'nothing to staple where the responder fails');
cmp_ok($took, '<', 600, 'but then the first failure ends the wait');

done_testing;
