# Licensed under the Apache License, Version 2.0; see LICENSE.

# httpd -t -D DUMP_STAPLING says before a start what would be stapled and what
# keeps a certificate from it, in the words of the status page; -D PROBE_STAPLING
# asks the responders as well; -D DUMP_STAPLING_JSON says it to programs. The
# exit status says whether all is well.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Staple;
use Staple::Names;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    ($_ => $ca->leaf(name => "$_.test", ocsp => $responder->url));
} qw(one two off bare);
my $port = $responder->port;

sub preflight
{
    my ($vhosts, $what, %o) = @_;
    my $split = delete $o{split};
    my $httpd = Staple::Httpd->new(conf => stapling(), vhosts => $vhosts, %o);
    my ($exit, $out) = $httpd->configtest('-D', $what);

    # what httpd itself says stands on standard error
    $out =~ s/^[^{]*(\{.*\})[^}]*\z/$1/s if $split;

    ok(!-e $httpd->dir . '/logs/stapling_cache', '... no file was made');
    return ($exit, $out);
}

# The lines of one virtual host in a report.
sub host
{
    my ($out, $name) = @_;

    return $out =~ /^(\Q$name\E:.*?)(?=^\S|\z)/ms ? $1 : '';
}

# All is well.
my ($exit, $out) = preflight(
    [{ cert => $leaf{one} }, { certs => [$leaf{two}] },
     { cert => $leaf{off}, conf => 'SSLUseStapling off' }], 'DUMP_STAPLING');
is($exit, 0, 'a healthy configuration') or diag $out;
like($out, qr/^all is well$/m, '... in words');
like($out, qr/Syntax OK/, '... and httpd agrees');
my $one = host($out, 'one.test');
like($one, qr/^  certificate  one\.test, serial $leaf{one}{serial}, until /m,
     'the certificate');
like($one, qr/^  issuer       CN=.*intermediate$/m, '... its issuer');
like($one, qr/^  must-staple  no$/m, '... whether it is must-staple');
like($one, qr{^  responder    http://127\.0\.0\.1:$port/$}m,
     '... its responder');
like($one, qr/^  stapled      yes$/m, '... that it will be stapled');
like($one, qr/^one\.test:\d+ \(.*httpd\.conf:\d+\)$/m,
     '... where it was written');
like(host($out, 'off.test'), qr/stapled      no: SSLUseStapling is off/,
     'a host that has it off');
is_deeply([$out =~ /^(\w+)\.test:/gm], [qw(one two off)],
          'the hosts are in the order of the configuration');
like($out, qr/^Allow outbound TCP to:\n  127\.0\.0\.1:$port\n\n/m,
     'a list for the firewall, which can be pasted');
like($out, qr/^  127\.0\.0\.1:$port \(responder, 2 uses\): 127\.0\.0\.1$/m,
     '... with the addresses');
like($out, qr/128000 bytes given, \d+ needed for 2 certificates/, 'the ring');
is($responder->count, 0, 'nobody was asked');

# What is in the way.
my %trouble = (
    none => $ca->leaf(name => 'none.test'),
    must => $ca->leaf(name => 'must.test', must_staple => 1),
    self => $ca->leaf(name => 'self.test', self_signed => 1),
    ldap => $ca->leaf(name => 'ldap.test', ocsp => 'ldap://x.test/'),
    lost => $ca->leaf(name => 'lost.test',
                      ocsp => 'http://no.such.host.invalid/'),
);
my $alone = { %{ $leaf{bare} },
              conf => "SSLCertificateFile $leaf{bare}{cert}\n"
                  . "SSLCertificateKeyFile $leaf{bare}{key}\n" };
($exit, $out) = preflight(
    [{ cert => $alone }, map { { cert => $trouble{$_} } } sort keys %trouble],
    'DUMP_STAPLING');
is($exit, 1, 'a configuration with troubles');
unlike($out, qr/Syntax OK/, '... httpd does not say that all is well');
like(host($out, 'bare.test'),
     qr/!! +missing: its issuer's certificate is missing; look at this server's configuration: append/,
     'no issuer');
like(host($out, 'none.test'), qr/no: its CA names no OCSP responder/,
     'no responder');
like(host($out, 'must.test'),
     qr/!! +no staple: must-staple clients refuse: its CA names no OCSP/,
     'must-staple without a responder');
like(host($out, 'self.test'), qr/no: it is self-signed/, 'self-signed');
like(host($out, 'ldap.test'),
     qr/!! +missing: not a URL that can be asked; look at .*SSLStaplingForceURL/,
     'a responder that cannot be asked');
my ($end) = $out =~ /^What needs attention\n((?:  .*\n)+)/m;
is_deeply([map { /^  ([^: ]+)/ } split /\n/, $end],
          [qw(bare.test ldap.test must.test no.such.host.invalid)],
          'at the end stands all that is in the way, in order');
like($end, qr/^  no\.such\.host\.invalid:80: cannot be resolved: .*getent hosts no\.such\.host\.invalid;/m,
     'a responder that has no address, and what to do');
like($out, qr/^4 things need attention$/m, 'they are counted');

# The same for programs, and more than a hundred of them.
($exit, $out) = preflight(
    [{ cert => $alone }, map { { cert => $trouble{$_} } } sort keys %trouble],
    'DUMP_STAPLING_JSON', split => 1);
is($exit, 1, 'JSON: a configuration with troubles');
my $json = JSON::PP->new->decode($out);
ok(!$json->{is_well}, '... is not well');
is_deeply([map { $_->{where} =~ s/:.*//r } @{ $json->{troubles} }],
          [qw(bare.test ldap.test must.test no.such.host.invalid)],
          '... for the same reasons');
is_deeply({ map { ($_->{host} =~ s/:.*//r) => $_->{certificates}[0]{state} }
            @{ $json->{hosts} } },
          { 'bare.test' => 'missing', 'ldap.test' => 'missing',
            'lost.test' => 'waiting', 'must.test' => 'refused',
            'none.test' => 'not_applicable', 'self.test' => 'not_applicable' },
          '... with the states of the status page');
is_deeply([map { "$_->{host}:$_->{port}" } @{ $json->{outbound} }],
          ['no.such.host.invalid:80'], '... and whom to let this server reach');
is($json->{probe}, undef, '... nobody was asked');
# One virtual host is enough, with the certificate over and over.
my $many = 120;
my @links = map { Staple::Work::work_dir() . "/bare-$_.pem" } 1 .. $many;
symlink $leaf{bare}{cert}, $_ or die "$_: $!\n" for @links;
($exit, $out) = preflight(
    [{ name => 'many.test', cert => { %$alone, conf => join '',
           "SSLCertificateKeyFile $leaf{bare}{key}\n",
           map { "SSLCertificateFile $_\n" } @links } }],
    'DUMP_STAPLING_JSON', split => 1);
is(scalar @{ JSON::PP->new->decode($out)->{troubles} }, $many,
   'there may be more than a hundred');

# Who is not asked is not in the list: denied, expired, and sorted it is.
# (OpenSSL 3.5 makes no certificate that has ended; this one ends at once.)
my $old = $ca->leaf(name => 'old.test', ocsp => 'http://127.0.0.3/', days => 0);
my $made = time;
wait_for(sub { time > $made + 1 });
($exit, $out) = preflight(
    [map { { cert => $_ } } $leaf{one},
     map({ $ca->leaf(name => "$_.test", ocsp => "http://$_/") }
         qw(10.9.8.7 127.0.0.9 127.0.0.2)),
     $old],
    'DUMP_STAPLING', conf => stapling('StapleDenyResponder private'));
my ($list) = $out =~ /^Allow outbound TCP to:\n((?:  .*\n)+)/m;
is($list, join('', map { "  $_\n" } "127.0.0.1:$port", '127.0.0.2:80',
               '127.0.0.9:80'), 'without those who will not be asked, sorted');
like($out, qr/^  10\.9\.8\.7:80: its address 10\.9\.8\.7 .*StapleDenyResponder/m,
     '... of which one is in the way');
like($out, qr/old\.test.*: missing: the certificate itself has expired/,
     '... and the other one, too');

# A certificate's chain in a file of its own; certificates of the main server.
my $apart = { %$alone,
              conf => "$alone->{conf}SSLCertificateChainFile "
                  . "$leaf{bare}{issuer}\n" };
($exit, $out) = preflight([{ cert => $apart }], 'DUMP_STAPLING');
is($exit, 0, 'the issuer in SSLCertificateChainFile') or diag $out;
($exit, $out) = preflight(
    [{ name => 'heir.test' }], 'DUMP_STAPLING',
    conf => stapling('SSLEngine on', $leaf{one}{conf}));
like(host($out, 'heir.test'), qr/certificate  one\.test.*stapled      yes/s,
     'a certificate of the main server');
($exit, $out) = preflight(
    [{ cert => $leaf{two} }], 'DUMP_STAPLING',
    conf => stapling('SSLEngine on', $leaf{one}{conf}));
unlike(host($out, 'two.test'), qr/certificate  one\.test/,
       '... but not where a host has its own in its place');

# StapleChain: the certificates of CAs that are sent behind a host's own.
{
    my $other = Staple::CA->new;
    my $below = $other->intermediate(ocsp => $responder->url,
                                     file => 'with-uri');
    my @sites = map { $other->leaf(name => "$_.test", ocsp => $responder->url) }
        qw(left right);
    my $on = stapling('StapleChain on', 'SSLCACertificateFile ' . $other->root);
    my ($version) = (run('openssl', 'version'))[1] =~ /^OpenSSL (\d+\.\d+)/;
    my $is_old = $version < 3.6;

    ($exit, $out) = preflight([map { { cert => $_ } } @sites], 'DUMP_STAPLING',
                              conf => $on);
    is($exit, $is_old ? 1 : 0, "StapleChain on, with OpenSSL $version")
        or diag $out;
    my $left = host($out, 'left.test');
    if ($is_old) {
        like($out, qr/^  the server: StapleChain on has no effect: OpenSSL/m,
             'the version is in the way');
        like($left, qr/certificate  CN=.*intermediate\n  stapled +no: OpenSSL/,
             '... of the certificate in the chain');
    }
    else {
        like($left, qr/certificate  .*intermediate, serial $below->{serial}/,
             'the certificate in the chain is listed');
        like($left, qr/^  of a CA .*StapleChain.*^  stapled +yes$/ms,
             '... marked, and will be stapled');
        like($out, qr/needed for 3 certificates/, '... in the ring, too, once');
    }
    like($out, qr/^  stapled      2 of 2 certificates$/m,
         'sites are counted without it');
    ($exit, $out) = preflight([map { { cert => $_ } } @sites],
                              'DUMP_STAPLING_JSON', conf => $on, split => 1);
    my $hosts = JSON::PP::decode_json($out)->{hosts};
    is_deeply([map { [map { $_->{is_ca} ? 'CA' : 'site' }
                      @{ $_->{certificates} }] } @$hosts],
              [['site', 'CA'], ['site', 'CA']], 'JSON tells them apart');
    is_deeply([map { [map { $_->{file} } @{ $_->{certificates} }] } @$hosts],
              [map { [($_->{chain}) x 2] } @sites],
              '... each by the file of its own host');
    my $foreign = Staple::CA->new->intermediate(ocsp => $responder->url,
                                                file => 'with-uri');
    ($exit, $out) = preflight(
        [{ cert => $sites[0],
           conf => "SSLCertificateChainFile $foreign->{cert}" }],
        'DUMP_STAPLING', conf => $on);
    my ($own) = $left =~ /^  issuer +CN=(.+)$/m;
    my @links = $out =~ /^  certificate +(.*intermediate.*)/mg;
    is(scalar @links, 1, 'with SSLCertificateChainFile, one is sent behind it');
    unlike("@links", qr/\Q$own\E/, '... which is not what follows in its file');
    ($exit, $out) = preflight([{ cert => $sites[0] }], 'DUMP_STAPLING');
    unlike($out, qr/intermediate, serial|of a CA/, 'off: they are not listed');
}

# A ring that is too small.
($exit, $out) = preflight(
    [map { { cert => $leaf{$_} } } qw(one two off)], 'DUMP_STAPLING',
    conf => 'SSLStaplingCache "shmcb:logs/stapling_cache(8192)"'
        . "\nSSLUseStapling on\nStapleCacheGrow off\n");
is($exit, 1, 'a ring that is too small');
like($out, qr/^  the ring: too small, and StapleCacheGrow is off/m, '... in words');

SKIP: {
    skip 'no mod_md', 1 if !has_httpd_module('md');
    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
                              modules => ['md'],
                              conf => stapling('MDStapling on'));
    like($out, qr/^  by +mod_md, for its own domains/m, 'mod_md staples too');
}

# The probe.
($exit, $out) = preflight([{ cert => $leaf{one} }, { cert => $leaf{two} }],
                          'PROBE_STAPLING');
is($exit, 0, 'the probe of a healthy responder') or diag $out;
like($out, qr{^  ok +one\.test: http://\S+: stapled: until .* UTC \(127\.0\.0\.1:$port, \d+ ms\)$}m,
     '... its verdict');
is($responder->count, 2, '... each certificate was asked for once');
$responder->tell('revoked', $leaf{one});
$responder->tell('badsig', $leaf{two});
($exit, $out) = preflight([{ cert => $leaf{one} }, { cert => $leaf{two} }],
                          'PROBE_STAPLING');
is($exit, 1, 'the probe of one that lies and one that revokes');
like($out, qr/!! +one\.test: \S+ revoked: the CA revoked it at/, '... revoked');
like($out, qr/!! +two\.test: \S+ missing: the response .*signature/,
     '... the lie');
like($out, qr/^  two\.test, http:\S+: missing: .*; look at the responder, or a proxy .*SSLCertificateFile/m,
     '... with the remedy at the end');
like($out, qr/^2 things need attention$/m, '... they are counted');
$responder->good($leaf{$_}) for qw(one two);
$responder->tell('reset-counters');
$responder->tell('trylater', $leaf{one});
($exit, $out) = preflight([{ cert => $leaf{one} }], 'PROBE_STAPLING');
like($out, qr/!! +one\.test: \S+ missing: the response .*tryLater/,
     "... the responder's own word");
is($responder->count, 1, '... is asked for once, as the server would');

# No SSLStaplingCache: which line to add.
($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
                          conf => "SSLUseStapling on\n");
is($exit, 1, 'no SSLStaplingCache');
like($out, qr{^  the server: .*\(AH01958\); add at server level: SSLStaplingCache "shmcb:/\S+/run/stapling_cache\(512000\)"}m,
     '... and the line to add');

# What a start would do for the ring's file.
my $place = Staple::Work::work_dir() . '/place';
sub ring_at
{
    my ($path, %o) = @_;

    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
        conf => "SSLUseStapling on\nSSLStaplingCache shmcb:$path(128000)\n",
        %o);
    return $out =~ /^  the ring: no ring file can be kept there: (.*); resp/m ? $1 : '';
}
# The same for a size, in bytes.
sub preflight_size
{
    my ($size) = @_;

    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
        conf => "SSLUseStapling on\nSSLStaplingCache shmcb:run/ring($size)\n");
    return $out =~ /^  the ring: (.*)/m ? $1 : '';
}
like(ring_at("$place/no/ring"), qr{^the directory $place/no: No such file},
     'a ring in a directory that does not exist');
mkdir $place;
is(ring_at("$place/ring"), '', 'one that exists') or diag $out;
is(preflight_size('4000000000000'), '', 'a size of which little can be used');
chmod 0777, $place;
like(ring_at("$place/ring"), qr/^anybody may remove files in $place$/,
     'one that anybody may write to');
chmod 0755, $place;
mkdir "$place/dir";
like(ring_at("$place/dir"), qr/^what is there is a directory$/,
     'a directory at its place');
symlink '/etc/hostname', "$place/link";
like(ring_at("$place/link"), qr/^what is there is a symbolic link$/, 'a link');
SKIP: {
    skip 'not root', 1 if $> != 0;
    write_file("$place/others", 'x');
    chown 1, 1, "$place/others";
    like(ring_at("$place/others"), qr/belongs to another user/,
         'a file of another user');
}

# Names are looked up side by side, by a child that is not root, and not for
# longer than the deadline.
SKIP: {
    skip(Staple::Names::missing(), 1) if Staple::Names::missing();
    my $names = Staple::Names->new(
        'quick.test' => '127.0.0.9', map { ("hang$_.test" => 'hang') } 1 .. 6);
    ($exit, $out) = preflight(
        [map { { cert => $ca->leaf(name => "$_.site.test",
                                   ocsp => "http://$_.test/") } }
         (map { "hang$_" } 1 .. 6), 'quick'],
        'DUMP_STAPLING', names => $names);
    is(() = $out =~ /^  hang\d\.test:80: cannot be resolved: no answer within/mg,
       6, 'six names that hang');
    like($out, qr/^  quick\.test:80 .*: 127\.0\.0\.9$/m,
         'a seventh is resolved all the same');
    my @askers = $names->askers('quick.test');
    is(scalar @askers, 1, 'each name is looked up once');
    isnt($askers[0], 0, '... by a process that is not root');
    is(scalar(grep { $_ == 0 } map { $names->askers("hang$_.test") } 1 .. 6), 0,
       '... nor for any of the others');
}

# Root that cannot be given up asks nobody.
SKIP: {
    skip 'not root', 1 if $> != 0;
    $responder->tell('reset-counters');
    my $httpd = Staple::Httpd->new(conf => stapling(),
                                   vhosts => [{ cert => $leaf{one} }]);
    my $conf = $httpd->dir . '/conf/httpd.conf';
    my $text = read_file($conf);
    skip 'mod_unixd is built in', 1
        if $text !~ s/^LoadModule unixd_module .*\n|^(?:User|Group) .*\n//gm;
    write_file($conf, $text);
    ($exit, $out) = $httpd->configtest('-D', 'PROBE_STAPLING');
    isnt($exit, 0, 'without mod_unixd as root');
    is(() = $out =~ /: not done as root, and the privileges of root cannot be given up/g,
       2, '... neither names nor responders') or diag $out;
    is($responder->count, 0, '... nobody was asked');
}

done_testing;
