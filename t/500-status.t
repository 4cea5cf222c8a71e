# Licensed under the Apache License, Version 2.0; see LICENSE.

# The status page says how every certificate stands, in every view the same:
# stapled, revoked, missing, not applicable, no room; what was served and
# missed is counted over all children, and survives a restart.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = (
    good    => $ca->leaf(name => 'good.test', ocsp => $responder->url),
    revoked => $ca->leaf(name => 'revoked.test', ocsp => $responder->url),
    must    => $ca->leaf(name => 'must.test', ocsp => $responder->url,
                         must_staple => 1),
    none    => $ca->leaf(name => 'none.test'),
    mute    => $ca->leaf(name => 'mute.test', ocsp => 'http://127.0.0.1:1/'),
    quiet   => $ca->leaf(name => 'quiet.test', ocsp => $responder->url),
);
$responder->tell('revoked', $leaf{revoked});
$responder->tell('trylater', $leaf{must});

my $httpd = Staple::Httpd->new(
    ports => 2, modules => ['status'],
    conf  => stapling(status_conf(), '<Location /server-status>',
                      'SetHandler server-status', '</Location>',
                      'StapleWarmup 0'),
    vhosts => [map({ { cert => $leaf{$_} } } sort keys %leaf),
               { cert => $leaf{good}, name => 'also.test' }]);
$httpd->start;
my $status = Staple::Status->new($httpd);

wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');
ok(wait_for(sub { $status->cert('must.test')->{outcome}
                  && $status->cert('mute.test')->{outcome} }),
   'every responder was asked');

my $json = $status->json;
is($json->{summary}, '3 of 5 certificates need attention.', 'the summary');
is_deeply([grep { !/^quiet/ } map { "$_->{name} $_->{state}" }
               @{ $json->{certificates} }],
          ['must.test refused', 'revoked.test revoked', 'mute.test missing',
           'good.test stapled', 'none.test not_applicable'],
          'certificates come by urgency');
is_deeply({ map { $_ => $json->{states}{$_} }
            grep { $json->{states}{$_} } keys %{ $json->{states} } },
          { refused => 1, revoked => 1, missing => 1, stapled => 2,
            not_applicable => 1 }, 'states are counted');

is_deeply([map { $_->{failure} // '-' } @{ $json->{certificates} }],
          ['try_later', '-', 'address_denied', map { '-' } 1 .. 3],
          'what fails has a name for programs');
is_deeply($json->{failures}, { try_later => $json->{failures}{try_later},
          address_denied => $json->{failures}{address_denied} },
          '... by which failures are counted');

my $good = $status->cert('good.test');
is_deeply([sort map { s/:\d+//r } @{ $good->{hosts} }],
          ['also.test', 'good.test'], 'with both virtual hosts');
is($good->{serial}, $leaf{good}{serial}, 'and the serial');
is($good->{key_type}, 'EC 256', 'and the key');
like($good->{peer}, qr/^127\.0\.0\.1:\d+$/, 'and the address');
like($status->cert('revoked.test')->{cause}, qr/^the CA revoked it at 20\d\d-/,
     'when it was revoked');
like($status->cert('none.test')->{cause}, qr/names no OCSP responder/,
     'why it is not applicable');

# Every view has every certificate, its state and its cause.
my %view = (page => $status->page, auto => $status->page('auto'),
            metrics => $status->page('metrics&detail'));
for my $cert (@{ $json->{certificates} }) {
    my $name = $cert->{name};
    my $words = $cert->{state} eq 'refused' ? 'no staple: must-staple clients refuse'
                : $cert->{state} =~ tr/_/ /r;
    my ($row) = $view{page}
        =~ /(<a class="name" href="\?id=$cert->{id}.*?<\/tr>)/s;
    my ($line) = $view{auto}
        =~ /^(StapleCertificate: \S+\t\Q$name\E\t.*)$/m;
    my $is_this = qr/\{certificate="\Q$name\E",id="$cert->{id}"/;

    like($row, qr/>\Q$words\E</, "$name: on the page");
    like($line, qr/^StapleCertificate: $cert->{state}\t/, '... in the lines');
    if ($cert->{cause}) {
        ok(index($row, $cert->{cause}) > 0, '... with the cause');
        ok(index($line, $cert->{cause}) > 0, '... and there');
    }
    like($view{metrics}, qr/^staple_certificate_info$is_this/m,
         '... in the metrics');
    if ($cert->{numbers}{attention}) {
        my $trouble
            = qr/state="$cert->{state}",severity="$cert->{severity}"\} 1$/m;

        like($view{metrics}, qr/^staple_certificate_trouble$is_this,$trouble/m,
             '... with its severity');
    }
}
is(Staple::Status::html_is_balanced($view{page}), undef, 'the page is whole');

# What handshakes got.
sub counted
{
    my ($name) = @_;
    my $numbers = $status->cert($name)->{numbers};

    return "$numbers->{served} $numbers->{missed}";
}
sub is_counted
{
    my ($name, $wanted, $what) = @_;

    wait_for(sub { counted($name) eq $wanted });
    is(counted($name), $wanted, $what);
}
handshake($httpd, name => 'quiet.test') for 1 .. 7;
is_counted('quiet.test', '7 0', 'staples are counted');
handshake($httpd, name => 'mute.test') for 1 .. 4;
is_counted('mute.test', '0 4', 'and those that were missed');

# The page of one certificate.
my $page = $status->page("id=$good->{id}");
is(Staple::Status::html_is_balanced($page), undef,
   'the page of a certificate is whole');
like($page, qr{<dt>\Q$_\E</dt>}, "it has: $_")
    for 'Responder, by name', 'Signature algorithm', 'Produced', 'This update',
        'Hash of the CertID', 'Served until';
unlike($page, qr/<form/, 'and no buttons unless they are switched on');
is($status->page("serial=$leaf{good}{serial}") =~ /<h1><bdi>good\.test</, 1,
   'it is found by its serial');
my $der = $status->ask("der=$good->{id}");
is($der->{head}{'content-type'}, 'application/ocsp-response', 'DER is offered');
is($der->{body}, handshake($httpd, name => 'good.test')->{der},
   'and is what is stapled');
is($status->ask('der=' . $status->cert('mute.test')->{id})->{status}, 404,
   'none where there is none');

# mod_status.
my $section = $status->ask(undef, path => '/server-status')->{body};
like($section, qr/3 of 5 certificates need attention.*<dt>must\.test: no staple/s,
     'mod_status has a section');
like($section, qr{<a href="/staple">The page of mod_staple</a>},
     '... with a link to the page, wherever it is');
like($status->ask('auto', path => '/server-status')->{body},
     qr/^StapleAttention: 3$/m, 'and its lines');

# Since when that is so.
my @since = sort map { $_->{numbers}{since} }
    grep { $_->{numbers}{attention} } @{ $status->json->{certificates} };
like($since[0], qr/^20\d\d-/, 'since when each needs attention is known');
is($status->json->{numbers}{since}, $since[0],
   'something is wrong since the first of them does');
like($status->page, qr/need attention\. <span class="since">Something has been wrong since 20\d\d-\d\d-\d\d /,
     '... which the page says');
like($section, qr/Something has been wrong since/, '... and that of mod_status');

# A restart begins a new ring from the old one.
$httpd->graceful;
is($status->json->{numbers}{since}, $since[0],
   'a restart does not begin that anew');
is(counted('quiet.test'), '7 0', 'what was counted survives a restart');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error|crit)\]/, qr/AH01909: also\.test/);

# A ring that may not grow has no room for all.
my $small = Staple::Httpd->new(
    ports => 2,
    conf  => "SSLUseStapling on\nSSLStaplingCache shmcb:logs/small(8192)\n"
        . "StapleCacheGrow off\n" . status_conf(),
    vhosts => [map { { cert => $leaf{$_} } } qw(good revoked must mute)]);
$small->start;
$status = Staple::Status->new($small);
my @without = grep { $_->{state} eq 'no_room' }
    @{ $status->json->{certificates} };
is(scalar @without, 2, 'no room is a state');
like($status->page("id=$without[0]{id}"),
     qr/the ring has no slot for it.*StapleCacheGrow/s, '... with the remedy');
ok($small->stop, 'httpd stops in good order');
$small->log_ok(qr/\[staple:(?:warn|error|crit)\]/);

done_testing;
