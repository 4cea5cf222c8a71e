# Licensed under the Apache License, Version 2.0; see LICENSE.

# A graceful restart and a hard one keep the staples, whatever the responder
# does meanwhile; a certificate that is added gets one, one that is taken away
# harms nobody.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(stays goes comes);
my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $leaf{stays} }, { cert => $leaf{goes} }]);

$httpd->start;
my $before = wait_for_staple($httpd, 'good', name => 'stays.test');
is($before->{staple}, 'good', 'stapled at first');
wait_for_staple($httpd, 'good', name => 'goes.test');
is($responder->count($leaf{stays}), 1, 'and asked for once');

$responder->tell('refuse');
for my $how (qw(graceful restart graceful)) {
    $httpd->$how;
    my $got = handshake($httpd, name => 'stays.test');
    is($got->{staple}, 'good', "$how: still stapled, at once");
    ok(defined $got->{der} && $got->{der} eq $before->{der},
       "$how: with the same bytes");
}
$responder->tell('listen');

$httpd->{vhosts} = [{ cert => $leaf{stays} }, { cert => $leaf{comes} }];
$httpd->write_conf;
$httpd->graceful;
is(handshake($httpd, name => 'stays.test')->{staple}, 'good',
   'other certificates: still stapled');
is(wait_for_staple($httpd, 'good', name => 'comes.test')->{staple}, 'good',
   'the new one is stapled');
is($responder->count($leaf{stays}), 1, 'and nobody asked again for the old');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
