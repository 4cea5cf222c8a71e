# Licensed under the Apache License, Version 2.0; see LICENSE.

# Certificates that are added, taken away and renewed with a graceful restart,
# under load: what stays keeps its staple, what is new has one from its first
# handshake on, and what is gone is forgotten.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

sub leaf { return $ca->leaf(name => $_[0], ocsp => $responder->url) }

my %leaf = map { $_ => leaf($_) } qw(stays.test renewed.test);
# A busy machine may take longer than the default.
my $httpd = Staple::Httpd->new(conf => stapling('StapleWarmup 60'));

sub configure
{
    $httpd->{vhosts} = [map { { cert => $leaf{$_} } } sort keys %leaf];
    $httpd->write_conf;
}

configure();
$httpd->start;
wait_for_staple($httpd, 'good', name => $_) for keys %leaf;
my $visitors = Staple::Visitors->new($ca, [$httpd], names => [sort keys %leaf]);
$responder->tell('slow 100');

for my $round (1 .. 5) {
    # Renewed: the same name and key, another serial.
    $leaf{'renewed.test'} = leaf('renewed.test');
    delete $leaf{ "extra" . ($round - 1) . '.test' };
    $leaf{"extra$round.test"} = leaf("extra$round.test");
    configure();
    $responder->tell('reset-counters');
    $httpd->graceful;

    my $got = handshake($httpd, name => "extra$round.test");
    is($got->{staple}, 'good', "round $round: added, stapled at once");
    $got = handshake($httpd, name => 'renewed.test');
    is($got->{staple}, 'good', "round $round: renewed, stapled at once");
    is($got->{serial}, $leaf{'renewed.test'}{serial}, 'with its own response');
    is($responder->count($leaf{'stays.test'}), 0,
       "round $round: nobody asked for what stayed");
    ok($visitors->wait_for_more(10), "round $round: visitors came");
}
my @odd = $visitors->stop->odd;
ok(!@odd, 'no visitor went without a staple') or diag(join "\n", @odd);
my %serials = map { $_->{serial} => 1 }
    grep { $_->{name} eq 'renewed.test' } $visitors->visits;
cmp_ok(scalar(keys %serials), '>=', 5, 'visitors saw the renewed ones');

# None left, and then back again.
$responder->good;
my %kept = %leaf;
%leaf = ();
$httpd->{vhosts} = [{ name => 'plain.test' }];
$httpd->write_conf;
$httpd->graceful;
ok(wait_for(sub { !handshake($httpd)->{ok} }), 'no certificate at all');
%leaf = %kept;
configure();
$responder->tell('hang-before');
$httpd->graceful;
is(handshake($httpd, name => 'stays.test')->{staple}, 'good',
   'all back: stapled at once, from what was kept in the file');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
