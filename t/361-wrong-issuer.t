# Licensed under the Apache License, Version 2.0; see LICENSE.

# Two CAs of one name, as after a change of keys, and the chain of a certificate
# has the wrong one: the log, the preflight and the status page say that, and no
# responder is asked a question that it cannot understand. Its neighbour, whose
# chain is right, is stapled.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $right = Staple::CA->new(name => 'Twin');
my $wrong = Staple::CA->new(name => 'Twin');
my $responder = Staple::Responder->new($right);
# mod_ssl finds no issuer where the identifiers of the keys say otherwise.
my %leaf = map { $_ => $right->leaf(name => "$_.test", ocsp => $responder->url,
                                    ext  => "authorityKeyIdentifier=none\n") }
    qw(good bad);
write_file($leaf{bad}{chain}, join '', map { read_file($_) } $leaf{bad}{cert},
           ($wrong->issuer)[0]);

my $httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling(status_conf()),
    vhosts => [map { { cert => $_ } } @leaf{qw(good bad)}]);
my ($exit, $report) = $httpd->configtest('-D', 'DUMP_STAPLING');
my $said = qr/the issuer in the chain did not sign this certificate/;

is($exit, 1, 'the preflight finds something');
like($report, qr/^  !! +missing: $said.*; look at this server's configuration: put/m, '... and says what');
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'good.test')->{staple}, 'good',
   'the neighbour is stapled');
ok($httpd->wait_for_log(qr/STP0160: bad\.test \(.*\): .*$said/),
   'the log says it');
is(handshake($httpd, name => 'bad.test')->{staple}, 'none', 'no staple');
like(Staple::Status->new($httpd)->page, $said, 'the status page says it');
is($responder->count, 1, 'the responder was not asked');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0160/);

# Two hosts with one certificate, and only one has the right chain: whichever
# mod_ssl takes first, the certificate is stapled at both.
my $shared = $right->leaf(name => 'one.test', alt => ['two.test'],
                          ocsp => $responder->url,
                          ext  => "authorityKeyIdentifier=none\n");
my $amiss = { %$shared, chain => "$shared->{cert}-amiss" };
write_file($amiss->{chain}, join '', map { read_file($_) } $amiss->{cert},
           ($wrong->issuer)[0]);
$amiss->{conf} =~ s/\Q$shared->{chain}\E/$amiss->{chain}/;
for my $order ([$shared, $amiss], [$amiss, $shared]) {
    my ($one, $two) = @$order;

    $httpd = Staple::Httpd->new(
        conf   => stapling(),
        vhosts => [{ cert => $one, name => 'one.test' },
                   { cert => $two, name => 'two.test' }]);
    ($exit, $report) = $httpd->configtest('-D', 'DUMP_STAPLING');
    my ($last) = $report =~ /^(two\.test:.*?)(?=^\S)/ms;
    like($last, qr/^  stapled +yes$/m,
         'two chains, one of them right: the preflight sees it');
    $httpd->start;
    is(wait_for_staple($httpd, 'good', name => "$_.test")->{staple}, 'good',
       "$_.test is stapled") for qw(one two);
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

done_testing;
