# Licensed under the Apache License, Version 2.0; see LICENSE.

# What mod_ssl starts with, mod_staple starts with: more than 500 values of the
# eleven directives that both read, each tried with the real mod_ssl alone. What
# is taken there is taken here, or stands in the table of docs/from-mod_ssl.md;
# and what stands there is refused here and taken there.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(source_dir);

# ----- the values -----

my @flags = qw(SSLUseStapling SSLStaplingReturnResponderErrors
               SSLStaplingFakeTryLater);
my @spans = qw(SSLStaplingResponseTimeSkew SSLStaplingResponderTimeout
               SSLStaplingResponseMaxAge SSLStaplingStandardCacheTimeout
               SSLStaplingErrorCacheTimeout);
my %values;

$values{$_} = [
    (map { my $word = $_; map { s{%s}{$word}gr }
           '%s', '"%s"', "'%s'", '%s extra', '%s # why', '"%s" "%s"', "\t%s " }
     qw(on off On OFF oN)), 'maybe', '1'] for @flags;
$values{$_} = [
    (map { my $n = $_; map { "$n$_" }
           '', qw(s ms min h MIN S x sec d .5 e3 %), ',5', '-', '_000' }
     qw(0 1 5 60 3600)),
    qw(abc none off default 0x10 +5 007 315360000 315360001 999999999
       2147483647 1h30m 5minutes), '" 5"', '"5 "', '"5 s"', '" "', '"5\'"',
    "'60'", '-1'] for @spans;
$values{SSLStaplingForceURL} = [
    (map { my $scheme = $_; map { "$scheme$_" }
           qw(ocsp.test ocsp.test/ ocsp.test:8080/a?b=c ocsp.test:0/
              ocsp.test:99999/ u@ocsp.test/ u:p@ocsp.test/ [::1]/ 127.1/
              exa..mple/ h/a|b h/%zz / /path), '' }
     'http://', 'HTTP://', 'https://', 'ldap://', ''),
    qw(none off x 0x7f000001), '"http://ocsp test/"', '" http://ocsp.test/ "',
    '"http://h/a\'b"', "http://h/\xc3\xa4", '" "'];
$values{SSLOCSPProxyURL} = [
    (map { my $scheme = $_; map { "$scheme$_" }
           qw(proxy.test proxy.test:3128 proxy.test:3128/ proxy.test/path
              proxy.test:3128/path?q#f u:p@proxy.test:3128 u@proxy.test
              u:p%40q@proxy.test:3128/ [::1]:3128 127.1 exa..mple) }
     'http://', 'HTTP://', 'https://', 'socks5://', ''),
    qw(none off direct), '" http://proxy.test:3128 "', '"http://a b/"'];
$values{SSLStaplingCache} = [
    (map { "shmcb:run/ring($_)" }
     qw(8192 8193 32768 128000 +9000 010000 67108863 67108864 134217728
        1073741824 4294967294 8191 0 -1 x 9000x), '" 9000"'),
    qw[shmcb shmcb: shmcb:run/ring shmcb:{dir}/run/ring
       shmcb:{dir}/run/ring(64000) shmcb:run/a(b)c(64000) shmcb:(64000)
       shmcb:run/ring) shmcb:run/ring( nosuch:x none SHMCB:x],
    '"shmcb:run/a b(64000)"',
    has_httpd_module('socache_dbm') ? qw(dbm:run/dbm dbm) : (),
    has_httpd_module('socache_memcache')
        ? qw(memcache:localhost memcache:localhost:11211) : (),
    has_httpd_module('socache_redis') ? qw(redis:localhost:6379) : ()];

my @lines = map { my $name = $_; map { "$name $_" } @{ $values{$name} } }
            sort keys %values;
my %lines;
@lines = grep { !$lines{$_}++ } @lines;

# ----- httpd -----

my @providers = grep { has_httpd_module($_) }
                map { "socache_$_" } qw(dbm memcache redis);

sub server { return Staple::Httpd->new(modules => \@providers, @_) }

# Each line at server level: a later one overrides an earlier one, and each is
# looked at.
sub check
{
    my ($httpd, @try) = @_;

    $httpd->{conf} = join '', map { "$_\n" } @try;
    $httpd->write_conf;
    return $httpd->configtest;
}

# The lines that a server takes. httpd names the first one that it does not;
# so that is taken out, and it is asked about the others.
sub taken
{
    my ($httpd, @try) = @_;

    while (@try) {
        my ($exit, $said) = check($httpd, @try);

        return @try if !$exit;
        my ($number) = $said =~ /Syntax error on line (\d+) of/ or die $said;
        my @all = split /\n/, read_file($httpd->dir . '/conf/httpd.conf');
        my $first = $try[0] =~ s/\{dir\}/$httpd->{dir}/gr;
        my ($at) = grep { $all[$_ - 1] eq $first } 1 .. @all;
        splice @try, $number - $at, 1;
    }
    return;
}

my $alone = server(staple => 0);
my @good = taken($alone, @lines);
my %good = map { $_ => 1 } @good;
cmp_ok(scalar @good, '>=', 500, 'mod_ssl alone starts with '
       . @good . ' of ' . @lines . ' lines');

# ----- the table -----

my ($table) = read_file(source_dir() . '/docs/from-mod_ssl.md')
              =~ /^## Values that stop the start\n(.*?)(?=^## |\z)/ms;
my @refused = map { qr/^$_$/ } map {
    join '.*', map { quotemeta } split /\.\.\./, $_, -1
} $table =~ /^\| `(SSL[^`]+)` \|/gm;
ok(@refused, 'docs/from-mod_ssl.md has a table');

sub is_in_table
{
    my ($line) = @_;

    return grep { $line =~ $_ } @refused;
}

my $both = server();
my @here = taken($both, grep { !is_in_table($_) } @good);
my %here = map { $_ => 1 } @here;
is_deeply([grep { !$here{$_} && !is_in_table($_) } @good], [],
          'with mod_staple it starts with all of them but those of the table');
for my $pattern (@refused) {
    my @such = grep { $_ =~ $pattern } @good;

    ok(@such, "$pattern: mod_ssl takes it");
    ok((check($both, $_))[0], "$_: mod_staple refuses it") for @such;
}

# ----- a start -----

# All of them in one configuration, with the ring that is to hold at the end;
# and each replaced one is told of.
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = server(ports => 2, vhosts => [{ cert => $leaf }],
    conf => join "\n", @here, stapling(status_conf()),
        'SSLStaplingForceURL off', 'SSLOCSPProxyURL none',
        (map { "$_ 60x" } @spans), 'SSLStaplingResponseMaxAge 100000');
$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'and then it staples');
my $log = read_file($httpd->{error_log});
like($log, qr/\[staple:warn\].*STP0150: \Q$httpd->{dir}\E\S+:\d+: $_: '60x' is no time.*; 60 seconds are used, as mod_ssl reads it/,
     "$_: what is used instead is said") for @spans;
my $page = Staple::Status->new($httpd)->page;
like($page, qr/Configuration: \S+:\d+: SSLStaplingForceURL: .*'off'/,
     'on the status page, too');
unlike($page, qr/u:p\b|u:p%40q/, 'no password is shown there');
unlike($log, qr/u:p\b|u:p%40q/, 'no password is logged');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0150/);

# Two includes, two caches: the last line holds alone, and both say so.
SKIP: {
    skip('no mod_socache_dbm', 1) if !has_httpd_module('socache_dbm');
    my $ring = 'SSLStaplingCache shmcb:logs/stapling_cache(128000)';
    my $dbm = 'SSLStaplingCache dbm:run/share';

    for my $case ([$dbm, $ring, qr{ring of 128000 bytes in \S+/logs/stapling_cache, [^;]*$}m],
                  [$ring, $dbm, qr{ring of 524288 bytes in memory, .*; shared through dbm$}m]) {
        my ($first, $last, $words) = @$case;
        my $httpd = server(vhosts => [{ cert => $leaf }],
                           conf => "SSLUseStapling on\n$first\n$last\n");
        my (undef, $lint) = run(
            Staple::Work::build_dir() . '/staplectl/staplectl', 'lint',
            $httpd->dir . '/conf/httpd.conf');

        like($lint, qr/shadowed: \Q$first\E\n.*holds: \Q$last\E$/m,
             "$first, and then $last: lint says that the last holds");
        $httpd->start;
        like(join("\n", $httpd->staple_lines('notice')), qr/STP0101: .*$words/,
             '... and STP0101 has nothing of the first');
        ok($httpd->stop, 'httpd stops in good order');
        $httpd->log_ok;
    }
}

done_testing;
